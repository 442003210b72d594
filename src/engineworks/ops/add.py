"""a + b, broadcast."""
import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._kinds import Pointwise


@op("add")
class Add(Pointwise):
    """Sum of two tensors of one dtype; integers wrap around."""

    commutes = True
    keeps_dims = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return xs[0] + xs[1]

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.add(*inputs)  # type: ignore[call-overload]  # also over object arrays of Dims

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}))


@from_onnx("Add")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.add(n[0], n[1])
