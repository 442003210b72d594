"""ONNX ConstantOfShape: one value repeated, a view of a scalar."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("ConstantOfShape")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    shape = n.dims(0, "the shape")
    assert shape is not None
    value = g.constant(np.asarray(n.attr("value", np.zeros(1, np.float32))).reshape(()))
    return value if shape == () else g.expand(value, shape=shape)
