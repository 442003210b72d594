"""ONNX's optionals, where what they hold is a tensor of the model: they are that tensor."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("OptionalHasElement")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """An input that is left out holds nothing."""
    return g.constant(np.array(n[0] is not None))


@from_onnx("OptionalGetElement")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return n.given()[0]
