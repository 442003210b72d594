"""Position of the smallest element along one axis."""

import numpy as np

from engineworks.ir import op
from engineworks.ops._positions import Position, position_from_onnx
from engineworks.ops._torch_reductions import position_from_torch


@op("argmin")
class ArgMin(Position):
    """i64 position of the smallest element along the single one of `axes`; NaN counts as smallest.

    Of equal elements the first wins, with `select_last` the last.
    """

    first = "argmin_first"
    last = "argmin_last"
    find = staticmethod(np.argmin)


position_from_onnx("ArgMin", "argmin")


position_from_torch("argmin", "aten.argmin.default")
