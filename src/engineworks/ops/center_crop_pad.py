"""ONNX CenterCropPad: cropped or padded evenly to a shape. Built from slices and pads."""

import numpy as np

from engineworks.core.dims import Dim, known_at_most
from engineworks.core.shapes import normalize_axes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._axes import ints_of
from engineworks.ops._slices import sliced


@from_onnx("CenterCropPad")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, wanted = n[0], n.dims(1, "the shape")
    assert wanted is not None
    axes = normalize_axes(ints_of(n, 2, "axes") or range(x.type.rank), x.type.rank)
    starts: list[Dim] = []
    ends: list[Dim] = []
    cut: list[int] = []
    before: list[Dim] = [0] * x.type.rank
    after: list[Dim] = [0] * x.type.rank
    for axis, target in zip(axes, wanted, strict=True):
        extent = x.type.shape[axis]
        match known_at_most(target, extent):
            case True:
                first = (extent - target) // 2
                cut.append(axis)
                starts.append(first)
                ends.append(first + target)
            case False:
                before[axis] = (target - extent) // 2
                after[axis] = target - extent - before[axis]
            case None:
                raise n.unsupported(
                    f"whether axis {axis} is cropped or padded depends on sizes {extent} and {target}; "
                    "narrow their ranges"
                )
    x = sliced(g, x, starts, ends, cut)
    if all(p == 0 for p in (*before, *after)):
        return x
    return g.pad(x, g.constant(np.zeros(()), x.type.dtype), before=tuple(before), after=tuple(after))
