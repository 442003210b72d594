"""Slices of x picked by index along one axis."""

from collections.abc import Sequence

import numpy as np

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
from engineworks.ops._views import integers, wrapped_index


@op("gather")
class Gather(Op):
    """out[…, *j, …] = x[…, indices[*j], …] at `axis`; negative indices count from the end."""

    axis: int = 0
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        if not indices.dtype.is_integer:
            raise InvalidModel(f"indices must be integers, not {indices}")
        axis = normalize_axis(self.axis, x.rank)
        return (TensorType(x.dtype, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.take(inputs[0], integers(inputs[1]), axis=self.axis)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x, indices = types[:2]
        axis = normalize_axis(self.axis, x.rank)
        picked = inputs[1](index[axis : axis + indices.rank])
        return inputs[0]((*index[:axis], wrapped_index(picked, x.shape[axis]), *index[axis + indices.rank :]))

    examples = (
        example(f32(5, 3), i64(2, 2, values=[[0, -1], [4, 2]])),
        example(f32("N", 4), i64(3, values=[3, 0, -4]), axis=1, dims={"N": (1, 3)}),
        example(f32(4, 2), i64(values=2)),
    )


@from_onnx("Gather")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """One index known at build is a slice, which addresses without a table."""
    x, indices = n[0], n[1]
    axis = normalize_axis(n.attr("axis", 0), x.type.rank)
    extent = x.type.shape[axis]
    if indices.constant is not None and x.known is None:
        picked = indices.constant.array
        if isinstance(extent, int) and picked.size and (picked.min() < -extent or picked.max() >= extent):
            wrong = picked.max() if picked.max() >= extent else picked.min()
            raise n.invalid(f"index {wrong} is outside of axis {axis} of {x.type}")
        if picked.size == 1:
            at = int(picked.ravel()[0])
            if at >= 0 or isinstance(extent, int):
                at = at if at >= 0 else at + int(extent)
                part = (
                    x if extent == 1 else g.slice(x, starts=(at,), ends=(at + 1,), axes=(axis,), steps=(1,))
                )
                return g.reshape_to(
                    part, (*x.type.shape[:axis], *indices.type.shape, *x.type.shape[axis + 1 :])
                )
        if isinstance(extent, int) and picked.size and picked.min() < 0:
            indices = g.constant(np.where(picked < 0, picked + extent, picked))
    return g.gather(x, indices, axis=axis)


@from_torch("aten.embedding.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.gather(n.arg("weight"), n.arg("indices"), axis=0)
