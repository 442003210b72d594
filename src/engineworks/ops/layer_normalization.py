"""Normalisation over the trailing axes, then scale and shift."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f16, f32, from_onnx, from_torch, op
from engineworks.ops._moments import centered, standardised, trailing_axes, widened
from engineworks.ops._torch import filled


@op("layer_normalization")
class LayerNormalization(Op):
    """scale (x - mean) / √(variance + epsilon) + bias, moments over all axes from `axis` on.

    Args:
        x: floating point; scale, bias (may be left out): broadcast to x.
    f16 and bf16 are computed in f32 and rounded once.
    """

    axis: int = -1
    epsilon: float = 1e-5

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x = inputs[0]
        assert x is not None
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, scale, bias = (*inputs, None)[:3]
        x = np.asarray(x)
        y = standardised(x, trailing_axes(self.axis, x.ndim), self.epsilon) * np.asarray(scale, np.float64)
        return y if bias is None else y + np.asarray(bias, np.float64)

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        x, scale, bias = (*inputs, None)[:3]
        assert x is not None and scale is not None
        wide = widened(g, x)
        _, low, variance = centered(g, wide, trailing_axes(self.axis, x.type.rank))
        y = g.mul(low, g.rsqrt(g.add(variance, self.epsilon)))
        y = g.mul(y, g.cast_to(scale, wide.type.dtype))
        if bias is not None:
            y = g.add(y, g.cast_to(bias, wide.type.dtype))
        return g.cast_to(y, x.type.dtype)

    examples = (
        example(f32(2, 5, 16), f32(16, constant=True), f32(16, constant=True)),
        example(f32("N", 3, 4), f32(3, 4, constant=True), axis=1, epsilon=1e-3, dims={"N": (1, 4)}),
        example(f16(2, 16), f16(16, constant=True), f16(16, constant=True)),
    )


@from_onnx("LayerNormalization")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """Mean and inverse standard deviation, which training wants, are made when they are asked for."""
    x, axis, epsilon = n[0], n.attr("axis", -1), n.attr("epsilon", 1e-5)
    parameters = [n[1]] if n[2] is None else [n[1], n[2]]
    y = g.layer_normalization(x, *parameters, axis=axis, epsilon=epsilon)
    if not any(n.output_names[1:]):
        return (y,)
    stash = dtypes.bf16 if n.attr("stash_type", 1) == 16 else dtypes.f32
    mean, _, variance = centered(g, widened(g, x), trailing_axes(axis, x.type.rank))
    inverse = g.rsqrt(g.add(variance, epsilon))
    return y, g.cast_to(mean, stash), g.cast_to(inverse, stash)


@from_torch("aten.layer_norm.default", "aten.native_layer_norm.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """Mean and inverse standard deviation, which training wants, are made when they are asked for."""
    x, shape = n.arg("input"), n.arg("normalized_shape")
    axis = x.type.rank - len(shape)
    scale, bias = n.arg("weight"), n.arg("bias")
    scale = filled(g, 1, x.type.dtype, shape) if scale is None else scale
    y = g.layer_normalization(
        x, *((scale,) if bias is None else (scale, bias)), axis=axis, epsilon=n.arg("eps")
    )
    if not any(n.output_names[1:]):
        return (y,)
    mean, _, variance = centered(g, widened(g, x), trailing_axes(axis, x.type.rank))
    return y, *(g.cast_to(v, n.result_dtype(k)) if n.output_names[k] else None
                for k, v in enumerate((mean, g.rsqrt(g.add(variance, n.arg("eps")))), 1))  # fmt: skip
