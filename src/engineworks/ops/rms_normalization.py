"""Division by the root mean square over the trailing axes, then scale."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, op
from engineworks.ops._moments import trailing_axes, widened
from engineworks.ops._torch import filled


@op("rms_normalization")
class RmsNormalization(Op):
    """scale x / √(mean x² + epsilon), the mean over all axes from `axis` on. f16 and bf16 are computed in f32."""

    axis: int = -1
    epsilon: float = 1e-5

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, scale = inputs
        assert x is not None and scale is not None
        return (TensorType(scale.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, scale = (np.asarray(a, np.float64) for a in inputs)
        axes = trailing_axes(self.axis, x.ndim)
        return x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + self.epsilon) * scale

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        x, scale = inputs
        assert x is not None and scale is not None
        wide = widened(g, x)
        axes = trailing_axes(self.axis, x.type.rank)
        square = g.reduce_mean(g.mul(wide, wide), axes=axes, keepdims=True)
        y = g.mul(wide, g.rsqrt(g.add(square, self.epsilon)))
        return g.cast_to(g.mul(y, g.cast_to(scale, wide.type.dtype)), scale.type.dtype)

    examples = (
        example(f32(2, 5, 16), f32(16, constant=True)),
        example(f32("N", 3, 4), f32(3, 4, constant=True), axis=1, epsilon=1e-3, dims={"N": (1, 4)}),
    )


@from_onnx("RMSNormalization")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.rms_normalization(n[0], n[1], axis=n.attr("axis", -1), epsilon=n.attr("epsilon", 1e-5))


@from_torch("aten.rms_norm.default", "aten._fused_rms_norm.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """Without an epsilon it is the one of the dtype in which the squares are added up."""
    x, shape = n.arg("input"), n.arg("normalized_shape")
    if any(n.output_names[1:]):
        raise n.unsupported("the inverse root mean square as an output, which only training wants")
    scale, epsilon = n.arg("weight"), n.arg("eps")
    scale = filled(g, 1, x.type.dtype, shape) if scale is None else scale
    wide = x.type.dtype if x.type.dtype.bits > 32 else dtypes.f32
    epsilon = float(np.finfo(wide.numpy).eps) if epsilon is None else epsilon
    y = g.rms_normalization(x, scale, axis=x.type.rank - len(shape), epsilon=epsilon)
    return g.cast_to(y, n.result_dtype()), None
