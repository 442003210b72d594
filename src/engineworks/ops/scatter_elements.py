"""Elements of x replaced or combined at the places that indices along one axis name."""

import numpy as np

from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, i64, op
from engineworks.ops._views import Combine, combine_at


@op("scatter_elements")
class ScatterElements(Op):
    """out = x; then out[i, indices[i, j, k], k] is updates[i, j, k] or combined with it (axis 1), in row-major order.

    Inputs: x, integer indices (negative ones count from the end), updates shaped as indices.
    """

    axis: int = 0
    combine: Combine = "none"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, indices, updates = inputs
        assert x is not None and indices is not None and updates is not None
        normalize_axis(self.axis, x.rank)
        if not indices.dtype.is_integer or indices.rank != x.rank or updates.shape != indices.shape:
            raise InvalidModel(f"indices {indices} and updates {updates} do not fit {x}")
        if updates.dtype is not x.dtype:
            raise InvalidModel(f"updates {updates} must have the dtype of {x}")
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, indices, updates = (np.asarray(a) for a in inputs)
        out, axis = np.array(x), self.axis % x.ndim
        at = list(np.ogrid[tuple(slice(d) for d in indices.shape)])
        at[axis] = np.where(indices < 0, indices + x.shape[axis], indices)
        combine_at(out, tuple(np.broadcast_to(i, indices.shape) for i in at), updates, self.combine)
        return out

    examples = (
        example(f32(4, 5), i64(2, 3, values=[[1, 0, 3], [-1, 2, 3]]), f32(2, 3)),
        example(f32(3, 6), i64(2, 4, values=[[1, 1, 0, -6], [5, 2, 2, 2]]), f32(2, 4), axis=1, combine="add"),
        example(f32(6), i64(4, values=[1, 1, 5, 0]), f32(4), combine="mul"),
        example(f32(6), i64(4, values=[1, 1, 5, 0]), f32(4), combine="max"),
        example(i64("N", 3), i64(1, 3, values=[[0, 0, 0]]), i64(1, 3), combine="min", dims={"N": (1, 4)}),
    )


@from_onnx("ScatterElements")
@from_onnx("Scatter")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.scatter_elements(n[0], n[1], n[2], axis=n.attr("axis", 0), combine=n.attr("reduction", "none"))
