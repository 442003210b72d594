"""Slices of x picked by index vectors."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Reader, Value, example, f32, from_onnx, i64, op
from engineworks.ir.scalar import Scalar, const
from engineworks.ops._views import integers, wrapped_index


@op("gather_nd")
class GatherND(Op):
    """out[*b, *j, *rest] = x[*b, *indices[*b, *j], *rest], where b are `batch_dims` leading axes of both."""

    batch_dims: int = 0
    keeps_dims = True

    def vector(self, x: TensorType, indices: TensorType) -> int:
        """How many axes one index vector picks."""
        length = indices.shape[-1] if indices.rank else None
        if not isinstance(length, int) or not indices.dtype.is_integer:
            raise InvalidModel(f"indices must be integers whose last size is known at build, not {indices}")
        if self.batch_dims + length > x.rank or self.batch_dims >= indices.rank:
            raise InvalidModel(
                f"{self.batch_dims} batch axes and vectors of {length} do not fit {x} and {indices}"
            )
        return length

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        picked = self.vector(x, indices)
        return (TensorType(x.dtype, (*indices.shape[:-1], *x.shape[self.batch_dims + picked :])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, indices, b = np.asarray(inputs[0]), integers(inputs[1]), self.batch_dims
        batch = np.ix_(*[np.arange(d) for d in indices.shape[:b]])
        leading = tuple(np.reshape(grid, (*grid.shape, *[1] * (indices.ndim - 1 - b))) for grid in batch)
        return x[(*leading, *np.moveaxis(indices, -1, 0))] if indices.shape[-1] or b else np.broadcast_to(
            x, (*indices.shape[:-1], *x.shape))  # fmt: skip

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x, indices = types[:2]
        length, b = self.vector(x, indices), self.batch_dims
        where = index[: indices.rank - 1]
        picked = [
            wrapped_index(inputs[1]((*where, const(k, dtypes.i64))), x.shape[b + k]) for k in range(length)
        ]
        return inputs[0]((*index[:b], *picked, *index[indices.rank - 1 :]))

    examples = (
        example(f32(2, 3, 4), i64(2, 2, values=[[0, 1], [-1, 2]])),
        example(f32(2, 3, 4), i64(2, 1, values=[[2], [-1]]), batch_dims=1),
        example(f32(2, 2), i64(2, 2, values=[[0, 0], [1, 1]])),
    )


@from_onnx("GatherND")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.gather_nd(n[0], n[1], batch_dims=n.attr("batch_dims", 0))
