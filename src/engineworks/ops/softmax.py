"""Softmax along one axis: exp(x - max) / Σ exp(x - max)."""
import numpy as np

from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, op


@op("softmax")
class Softmax(Op):
    """Normalises each line of x along `axis` to sum to one; lines that are all -inf give NaN, as in ONNX."""

    axis: int = -1

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0], np.float64)
        if x.size == 0:
            return x
        e = np.exp(x - x.max(axis=self.axis, keepdims=True))
        return e / e.sum(axis=self.axis, keepdims=True)

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        (x,) = inputs
        assert x is not None
        e = g.exp(g.sub(x, g.reduce_max(x, axes=(self.axis,), keepdims=True)))
        return g.div(e, g.reduce_sum(e, axes=(self.axis,), keepdims=True))

    examples = (example(f32(2, 5)), example(f32("N", 7, 3), axis=1, dims={"N": (1, 4)}))


@from_onnx("Softmax", since=13)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.softmax(n[0], axis=n.attr("axis", -1))


@from_onnx("Softmax", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Before opset 13 the input is flattened to two dims at `axis`, then each row is normalised."""
    x, axis = n[0], n.attr("axis", 1)
    flat = g.flatten_at(x, axis=axis)
    return g.reshape_to(g.softmax(flat, axis=1), x.type.shape)
