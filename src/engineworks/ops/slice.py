"""x[start:end:step] along some axes: a view."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.shapes import normalize_axes, normalize_axis
from engineworks.core.types import TensorType
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Reader,
    Value,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
)
from engineworks.ir.scalar import Scalar, size
from engineworks.ops._axes import ints_of
from engineworks.ops._slices import Bounds, bounds_of, sliced, torch_slice
from engineworks.ops._views import plain


@op("slice")
class Slice(Op):
    """numpy's basic slicing. Negative starts and ends count from the end, both are clamped; steps may be negative.

    `axes` are non-negative; `steps` empty: all 1. An end of 2**31 - 1 or more, or the negative of it, is open.
    """

    starts: tuple[Dim, ...]
    ends: tuple[Dim, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...] = ()
    keeps_dims = True

    def bounds(self, shape: Sequence[Dim]) -> Bounds:
        """(first element, number of elements, step) by axis."""
        return bounds_of(shape, self.starts, self.ends, self.axes, self.steps)

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        bounds = self.bounds(x.shape)
        return (
            TensorType(x.dtype, tuple(bounds[a][1] if a in bounds else d for a, d in enumerate(x.shape))),
        )

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        for axis, (first, count, step) in self.bounds(x.shape).items():
            x = np.take(x, plain(first) + step * np.arange(plain(count)), axis=axis)
        return x

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        source = list(index)
        for axis, (first, _, step) in self.bounds(types[0].shape).items():
            source[axis] = index[axis] * step + size(first)
        return inputs[0](tuple(source))

    examples = (
        example(f32(5, 6), starts=(1, 4), ends=(3, 0), axes=(0, 1), steps=(1, -2)),
        example(f32("N", 7), starts=(-3,), ends=(2**63 - 1,), axes=(1,), dims={"N": (1, 4)}),
        example(f32(4, 3), starts=(9,), ends=(-9,), axes=(0,), steps=(-1,)),
        example(f32(4, 3), starts=(3,), ends=(3,), axes=(0,)),
    )


@from_onnx("Slice", since=10)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    starts, ends = n.dims(1, "starts"), n.dims(2, "ends")
    assert starts is not None and ends is not None
    axes = ints_of(n, 3, "axes") or tuple(range(len(starts)))
    steps = ints_of(n, 4, "steps") or ()
    return sliced(g, n[0], starts, ends, normalize_axes(axes, n[0].type.rank), steps)


@from_onnx("Slice", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    starts, ends = tuple(n.attr("starts", ())), tuple(n.attr("ends", ()))
    axes = tuple(n.attr("axes", range(len(starts))))
    return sliced(g, n[0], starts, ends, normalize_axes(axes, n[0].type.rank))


@from_torch("aten.slice.Tensor", "aten.slice_copy.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, axis, first, last, step = torch_slice(n)
    return sliced(g, x, (first,), (last,), (axis,), (step,))


@from_torch("aten.narrow.default", "aten.narrow_copy.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, start = n.arg("self"), n.arg("start")
    axis = normalize_axis(n.arg("dim"), x.type.rank)
    start = start + x.type.shape[axis] if isinstance(start, int) and start < 0 else start
    return sliced(g, x, (start,), (start + n.arg("length"),), (axis,))


@from_torch("aten.select.int", "aten.select_copy.int")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    axis = normalize_axis(n.arg("dim"), x.type.rank)
    index = n.arg("index")
    at = index + x.type.shape[axis] if isinstance(index, int) and index < 0 else index
    return g.squeeze(sliced(g, x, (at,), (at + 1,), (axis,)), (axis,))


@from_torch("aten.unbind.int", "aten.unbind_copy.int")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    x = n.arg("self")
    axis = normalize_axis(n.arg("dim"), x.type.rank)
    return tuple(
        g.squeeze(sliced(g, x, (k,), (k + 1,), (axis,)), (axis,)) if name else None
        for k, name in enumerate(n.output_names)
    )
