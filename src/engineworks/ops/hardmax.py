"""1 at the first maximum along an axis, else 0."""
import numpy as np

from engineworks.core.types import TensorType
from engineworks.ir import GraphBuilder, Op, Value, example, f32, op
from engineworks.ops._normalised_lines import lines_from_onnx


@op("hardmax")
class Hardmax(Op):
    """One-hot of the first largest element of each line along `axis`."""

    axis: int = -1

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        out = np.zeros_like(x)
        np.put_along_axis(out, np.expand_dims(x.argmax(self.axis), self.axis), 1, self.axis)
        return out

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        (x,) = inputs
        assert x is not None
        axis = self.axis % x.type.rank
        size = x.type.shape[axis]
        along = tuple(size if a == axis else 1 for a in range(x.type.rank))
        first = g.argmax(x, axes=(axis,), keepdims=True)
        return g.cast_to(g.equal(first, g.reshape_to(g.iota(count=size), along)), x.type.dtype)

    examples = (example(f32(2, 5)), example(f32("N", 7, 3), axis=1, dims={"N": (1, 4)}))


lines_from_onnx("Hardmax", "hardmax")
