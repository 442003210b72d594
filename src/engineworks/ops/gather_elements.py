"""One element of x for each index along an axis (torch.gather)."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.dims import known_equal
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
from engineworks.ir.scalar import Scalar
from engineworks.ops._torch import at_least_1d
from engineworks.ops._views import wrapped_index


@op("gather_elements")
class GatherElements(Op):
    """out[i, j, k] = x[i, indices[i, j, k], k] for axis 1; negative indices count from the end."""

    axis: int = 0

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        normalize_axis(self.axis, x.rank)
        if not indices.dtype.is_integer or indices.rank != x.rank:
            raise InvalidModel(f"indices must be integers of the rank of {x}, not {indices}")
        return (TensorType(x.dtype, indices.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, indices = np.asarray(inputs[0]), np.asarray(inputs[1])
        axis = self.axis % x.ndim
        trimmed = x[tuple(slice(None) if a == axis else slice(0, d) for a, d in enumerate(indices.shape))]
        return np.take_along_axis(
            trimmed, np.where(indices < 0, indices + x.shape[axis], indices).astype(np.int64), axis
        )

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        axis = normalize_axis(self.axis, len(index))
        picked = wrapped_index(inputs[1](index), types[0].shape[axis])
        return inputs[0]((*index[:axis], picked, *index[axis + 1 :]))

    examples = (
        example(f32(3, 3), i64(2, 3, values=[[1, -1, 0], [2, 0, -3]])),
        example(f32(2, 5), i64(2, 2, values=[[4, 0], [-5, 2]]), axis=1),
    )


@from_onnx("GatherElements")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.gather_elements(n[0], n[1], axis=n.attr("axis", 0))


@from_torch("aten.gather.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, index = at_least_1d(g, n.arg("self")), at_least_1d(g, n.arg("index"))
    if known_equal(index.type.count, 0):
        return g.reshape_to(g.cast_to(index, x.type.dtype), n.result_shape())
    return g.reshape_to(g.gather_elements(x, index, axis=n.arg("dim")), n.result_shape())
