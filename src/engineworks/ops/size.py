"""ONNX Size: the number of elements, a known dim."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("Size")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    count = np.empty((), dtype=object)
    count[()] = n[0].type.count
    return g.dims(count)
