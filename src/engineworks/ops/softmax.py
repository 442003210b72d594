"""Softmax along one axis: exp(x - max) / Σ exp(x - max)."""

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch, op
from engineworks.ops._normalised_lines import NormalisedLines, lines_from_onnx
from engineworks.ops._torch import at_least_1d


@op("softmax")
class Softmax(NormalisedLines):
    """Normalises each line of x along `axis` to sum to one; lines that are all -inf give NaN, as in ONNX.

    f16 and bf16 are computed in f32.
    """

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0], np.float64)
        if x.size == 0:
            return x
        e = np.exp(x - x.max(axis=self.axis, keepdims=True))
        return e / e.sum(axis=self.axis, keepdims=True)

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        (x,) = inputs
        assert x is not None
        wide = g.cast_to(x, dtypes.f32) if x.type.dtype.bits < 32 else x
        e = g.exp(g.sub(wide, g.reduce_max(wide, axes=(self.axis,), keepdims=True)))
        return g.cast_to(g.div(e, g.reduce_sum(e, axes=(self.axis,), keepdims=True)), x.type.dtype)


lines_from_onnx("Softmax", "softmax")


@from_torch("aten.softmax.int", "aten._softmax.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = g.cast_to(n.arg("self"), n.result_dtype())
    return g.reshape_to(g.softmax(at_least_1d(g, x), axis=n.arg("dim")), x.type.shape)


@from_torch("aten._safe_softmax.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Lines that are all -inf become 0."""
    x = g.cast_to(n.arg("self"), n.result_dtype())
    hidden = g.equal(g.reduce_max(x, axes=(n.arg("dim"),), keepdims=True), float("-inf"))
    return g.where(hidden, g.constant(0, x.type.dtype), g.softmax(x, axis=n.arg("dim")))
