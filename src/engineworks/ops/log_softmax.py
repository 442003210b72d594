"""Logarithm of softmax along one axis: x - max - log Σ exp(x - max)."""

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch, op
from engineworks.ops._normalised_lines import NormalisedLines, lines_from_onnx
from engineworks.ops._torch import at_least_1d


@op("log_softmax")
class LogSoftmax(NormalisedLines):
    """log softmax of each line of x along `axis`, without underflow. f16 and bf16 are computed in f32."""

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0], np.float64)
        if x.size == 0:
            return x
        low = x - x.max(axis=self.axis, keepdims=True)
        return low - np.log(np.exp(low).sum(axis=self.axis, keepdims=True))

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        (x,) = inputs
        assert x is not None
        wide = g.cast_to(x, dtypes.f32) if x.type.dtype.bits < 32 else x
        low = g.sub(wide, g.reduce_max(wide, axes=(self.axis,), keepdims=True))
        total = g.reduce_sum(g.exp(low), axes=(self.axis,), keepdims=True)
        return g.cast_to(g.sub(low, g.log(total)), x.type.dtype)


lines_from_onnx("LogSoftmax", "log_softmax")


@from_torch("aten.log_softmax.int", "aten._log_softmax.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = g.cast_to(n.arg("self"), n.result_dtype())
    return g.reshape_to(g.log_softmax(at_least_1d(g, x), axis=n.arg("dim")), x.type.shape)
