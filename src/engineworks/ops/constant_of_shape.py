"""ONNX ConstantOfShape, torch's full, zeros, ones and empty: one value repeated, a view of a scalar."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._torch import filled, in_dtype


@from_onnx("ConstantOfShape")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    shape = n.dims(0, "the shape")
    assert shape is not None
    value = g.constant(np.asarray(n.attr("value", np.zeros(1, np.float32))).reshape(()))
    return value if shape == () else g.expand(value, shape=shape)


@from_torch("aten.full.default", "aten.new_full.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return filled(g, n.arg("fill_value"), n.result_dtype(), n.arg("size"))


@from_torch("aten.full_like.default", "aten.fill.Scalar", "aten.fill.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    value = n.arg("fill_value" if "fill_value" in n.foreign.attributes else "value")
    return filled(g, value, n.result_dtype(), n.arg("self").type.shape)


@from_torch(
    "aten.zeros.default", "aten.new_zeros.default", "aten.empty.memory_format", "aten.new_empty.default"
)
@from_torch("aten.empty_strided.default", "aten.new_empty_strided.default", "aten.empty_permuted.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """What torch leaves unwritten is 0 here, so that two runs agree."""
    return filled(g, 0, n.result_dtype(), n.arg("size"))


@from_torch("aten.zeros_like.default", "aten.empty_like.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return filled(g, 0, n.result_dtype(), n.arg("self").type.shape)


@from_torch("aten.ones.default", "aten.new_ones.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return filled(g, 1, n.result_dtype(), n.arg("size"))


@from_torch("aten.ones_like.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return filled(g, 1, n.result_dtype(), n.arg("self").type.shape)


@from_torch("aten.scalar_tensor.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return in_dtype(g, n.arg("s"), n.result_dtype())


@from_torch("aten.copy.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """`src`, in the dtype and the shape of `self`."""
    x, like = n.arg("src"), n.arg("self").type
    x = g.cast_to(x, like.dtype)
    return x if x.type.shape == like.shape else g.expand(x, shape=like.shape)
