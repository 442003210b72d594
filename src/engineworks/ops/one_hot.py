"""Rows of one kind of value, with another at each index."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
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
    i64,
    op,
)
from engineworks.ir.scalar import Scalar, apply, cast, const, where
from engineworks.ops._views import plain, wrapped_index


@op("one_hot")
class OneHot(Op):
    """A new axis of size `depth` at `axis` of the result: values[1] where it equals the index, else values[0].

    Inputs: indices (any number type; negative ones count from depth; those outside give no hit) and values [2].
    """

    depth: Dim
    axis: int = -1

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        indices, values = inputs
        assert indices is not None and values is not None
        if values.shape != (2,):
            raise InvalidModel(f"values must be two, off and on; got {values}")
        axis = normalize_axis(self.axis, indices.rank + 1)
        return (TensorType(values.dtype, (*indices.shape[:axis], self.depth, *indices.shape[axis:])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        indices, values = np.asarray(inputs[0]).astype(np.int64), np.asarray(inputs[1])
        axis = self.axis % (indices.ndim + 1)
        indices = np.expand_dims(np.where(indices < 0, indices + plain(self.depth), indices), axis)
        places = np.arange(plain(self.depth)).reshape(-1, *[1] * (indices.ndim - 1 - axis))
        return np.where(indices == places, values[1], values[0])

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        axis = normalize_axis(self.axis, len(index))
        picked = wrapped_index(cast(inputs[0]((*index[:axis], *index[axis + 1 :])), dtypes.i64), self.depth)
        off, on = (inputs[1]((const(k, dtypes.i64),)) for k in (0, 1))
        return where(apply("eq", picked, index[axis]), on, off)

    examples = (
        example(i64(2, 3, values=[[0, 2, -1], [7, 1, -9]]), f32(2, values=[0.5, 3]), depth=4),
        example(i64("N", low=0), f32(2, values=[0, 1]), depth=3, axis=0, dims={"N": (1, 5)}),
    )


@from_onnx("OneHot")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    depth = n[1]
    if not depth.type.dtype.is_integer and depth.constant is not None:
        return g.one_hot(n[0], n[2], depth=int(depth.array.ravel()[0]), axis=n.attr("axis", -1))
    dims = n.dims(1, "the depth")
    assert dims is not None
    return g.one_hot(n[0], n[2], depth=dims[0], axis=n.attr("axis", -1))


@from_torch("aten.one_hot.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    if n.arg("num_classes") == -1:
        raise n.unsupported("a number of classes that the data decide; give num_classes")
    return g.one_hot(n.arg("self"), g.constant([0, 1], dtypes.i64), depth=n.arg("num_classes"))
