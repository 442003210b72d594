"""1 at the first maximum along an axis, else 0."""

import numpy as np

from engineworks.ir import GraphBuilder, Value, op
from engineworks.ops._normalised_lines import NormalisedLines, lines_from_onnx


@op("hardmax")
class Hardmax(NormalisedLines):
    """One-hot of the first largest element of each line along `axis`."""

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


lines_from_onnx("Hardmax", "hardmax")
