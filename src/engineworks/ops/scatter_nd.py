"""Slices of x replaced or combined at the places that index vectors name."""

import numpy as np

from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, i64, op
from engineworks.ops._views import Combine, combine_at, integers


@op("scatter_nd")
class ScatterND(Op):
    """out = x; then out[indices[*j]] is updates[*j] or combined with it, in row-major order of j.

    Inputs: x, integer indices [*j, length] (negative ones count from the end), updates [*j, *x.shape[length:]].
    """

    combine: Combine = "none"
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, indices, updates = inputs
        assert x is not None and indices is not None and updates is not None
        length = indices.shape[-1] if indices.rank else None
        if not isinstance(length, int) or not indices.dtype.is_integer or length > x.rank:
            raise InvalidModel(
                f"indices must be integers whose last size is known and at most {x.rank}, not {indices}"
            )
        if updates.dtype is not x.dtype or updates.rank != indices.rank - 1 + x.rank - length:
            raise InvalidModel(f"updates {updates} do not fit {x} and {indices}")
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, indices, updates = np.asarray(inputs[0]), integers(inputs[1]), np.asarray(inputs[2])
        out = np.array(x)
        combine_at(out, tuple(np.moveaxis(indices, -1, 0)), updates, self.combine)
        return out

    examples = (
        example(f32(4, 5), i64(2, 1, values=[[1], [-1]]), f32(2, 5)),
        example(f32(4, 3, 2), i64(3, 2, values=[[1, 0], [3, 2], [1, 0]]), f32(3, 2), combine="add"),
        example(f32(5), i64(3, 1, values=[[1], [1], [4]]), f32(3), combine="mul"),
        example(f32(5), i64(3, 1, values=[[1], [1], [4]]), f32(3), combine="min"),
    )


@from_onnx("ScatterND")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.scatter_nd(n[0], n[1], n[2], combine=n.attr("reduction", "none"))
