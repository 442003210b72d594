"""Position of the largest element along one axis."""

import numpy as np

from engineworks.ir import op
from engineworks.ops._positions import Position, position_from_onnx
from engineworks.ops._torch_reductions import position_from_torch


@op("argmax")
class ArgMax(Position):
    """i64 position of the largest element along the single one of `axes`; NaN counts as largest.

    Of equal elements the first wins, with `select_last` the last.
    """

    first = "argmax_first"
    last = "argmax_last"
    find = staticmethod(np.argmax)


position_from_onnx("ArgMax", "argmax")


position_from_torch("argmax", "aten.argmax.default")
