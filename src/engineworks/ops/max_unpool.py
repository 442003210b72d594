"""ONNX MaxUnpool: values put back where pooling found them. Built from scatter_elements."""

import numpy as np

from engineworks.core.dims import Dim, product
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("MaxUnpool")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Indices are positions in the whole result (before it is padded to a larger asked shape)."""
    x, places, asked = n[0], n[1], n.dims(2, "the output's shape")
    kernel = n.attr("kernel_shape")
    rank = len(kernel)
    strides, pads = n.attr("strides", [1] * rank), n.attr("pads", [0] * (2 * rank))
    shape: tuple[Dim, ...] = (
        *x.type.shape[:2],
        *(
            (d - 1) * strides[a] + kernel[a] - pads[a] - pads[a + rank]
            for a, d in enumerate(x.type.shape[2:])
        ),
    )
    zeros = g.expand(g.constant(np.zeros(()), x.type.dtype), shape=(product(shape),))
    count = (x.type.count,)
    flat = g.scatter_elements(zeros, g.reshape_to(places, count), g.reshape_to(x, count))
    out = g.reshape_to(flat, shape)
    if asked is None or asked == shape:
        return out
    after = tuple(wanted - have for wanted, have in zip(asked, shape, strict=True))
    return g.pad(out, g.constant(np.zeros(()), x.type.dtype), before=(0,) * len(after), after=after)
