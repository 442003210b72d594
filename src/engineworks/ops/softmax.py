"""Softmax along one axis: exp(x - max) / Σ exp(x - max)."""

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import GraphBuilder, Value, op
from engineworks.ops._normalised_lines import NormalisedLines, lines_from_onnx


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
