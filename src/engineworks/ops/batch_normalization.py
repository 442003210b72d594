"""Normalisation of channels by given moments, then scale and shift: one multiplication and one addition."""

import numpy as np

from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, op
from engineworks.ops._moments import along_axis, centered, numpy_along_axis, widened
from engineworks.ops._torch import filled


@op("batch_normalization")
class BatchNormalization(Op):
    """scale (x - mean) / √(variance + epsilon) + bias, each parameter a vector over axis 1 (axis 0 of a vector).

    f16 and bf16 are computed in f32.
    """

    epsilon: float = 1e-5

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x = inputs[0]
        assert x is not None
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0], np.float64)
        channels = min(1, x.ndim - 1)
        scale, bias, mean, variance = (numpy_along_axis(p, channels, x.ndim) for p in inputs[1:])
        return (x - mean) / np.sqrt(variance + self.epsilon) * scale + bias

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        """factor = scale / √(variance + epsilon) and offset = bias - mean factor are constants in most models."""
        x = inputs[0]
        assert x is not None
        wide = widened(g, x)
        scale, bias, mean, variance = (g.cast_to(p, wide.type.dtype) for p in inputs[1:] if p is not None)
        factor = g.div(scale, g.sqrt(g.add(variance, self.epsilon)))
        offset = g.sub(bias, g.mul(mean, factor))
        channels = min(1, x.type.rank - 1)
        factor, offset = (along_axis(g, p, channels, x.type.rank) for p in (factor, offset))
        return g.cast_to(g.add(g.mul(wide, factor), offset), x.type.dtype)

    examples = (
        example(f32(2, 3, 5), *[f32(3, constant=True)] * 3, f32(3, low=0.5, high=2, constant=True)),
        example(f32("N", 4), *[f32(4)] * 3, f32(4, low=0.5, high=2), epsilon=1e-2, dims={"N": (1, 4)}),
    )


@from_onnx("BatchNormalization", since=14)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    epsilon = n.attr("epsilon", 1e-5)
    if not n.attr("training_mode", 0):
        return (g.batch_normalization(*n.inputs[:5], epsilon=epsilon),)
    x, scale, bias, old_mean, old_variance = n.inputs[:5]
    assert x is not None and scale is not None and bias is not None
    assert old_mean is not None and old_variance is not None
    mean, variance = _moments(g, x)
    y = g.batch_normalization(x, scale, bias, mean, variance, epsilon=epsilon)
    momentum = n.attr("momentum", 0.9)
    return y, _blend(g, old_mean, mean, momentum), _blend(g, old_variance, variance, momentum)


def _moments(g: GraphBuilder, x: Value) -> tuple[Value, Value]:
    """Mean and variance of each channel of this batch, [C]."""
    axes = tuple(a for a in range(x.type.rank) if a != 1)
    mean, _, variance = centered(g, widened(g, x), axes)
    channels = (x.type.shape[1],)
    return g.reshape_to(mean, channels), g.reshape_to(variance, channels)


def _blend(g: GraphBuilder, old: Value, new: Value, momentum: float) -> Value:
    """Running moments: old momentum + new (1 - momentum), in the dtype of the old ones."""
    kept = g.mul(g.cast_to(old, new.type.dtype), momentum)
    return g.cast_to(g.add(kept, g.mul(new, 1 - momentum)), old.type.dtype)


@from_onnx("BatchNormalization")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Until opset 13 more outputs than one mean training, until opset 6 `is_test` says so too; until opset 8 each
    element could be normalised alone.
    """
    if n.opset < 7 and not n.attr("is_test", 0):
        raise n.unsupported("is_test=0 means training; export the model for inference")
    if any(n.output_names[1:]):
        raise n.unsupported("outputs beyond the first mean training; export the model for inference")
    if not n.attr("spatial", 1):
        raise n.unsupported(
            "spatial=0, moments for each element, is not supported; export with opset 9 or later"
        )
    return g.batch_normalization(*n.inputs[:5], epsilon=n.attr("epsilon", 1e-5))


@from_torch("aten.batch_norm.default", "aten._native_batch_norm_legit_no_training.default")
@from_torch("aten.native_batch_norm.default", "aten._native_batch_norm_legit.no_stats")
@from_torch("aten._batch_norm_no_update.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """By the running moments, or in training by those of the batch, which are left as they are.

    Raises:
        UnsupportedOperator: outputs beyond the first, or running moments to be changed: both mean training.
    """
    x, epsilon = n.arg("input"), n.arg("eps")
    if any(n.output_names[1:]):
        raise n.unsupported("outputs beyond the first mean training; export the module after module.eval()")
    training = any(n.arg(name) for name in ("training", "train") if name in n.foreign.attributes)
    running = n.foreign.attributes.get("running_mean") is not None
    if training and running:
        raise n.unsupported("training changes the running moments; export the module after module.eval()")
    channels = x.type.shape[min(1, x.type.rank - 1)]
    given = ((1, n.arg("weight")), (0, n.arg("bias")))
    scale, bias = (filled(g, k, x.type.dtype, (channels,)) if v is None else v for k, v in given)
    mean, variance = (n.arg("running_mean"), n.arg("running_var")) if running else _moments(g, x)
    return (
        g.batch_normalization(x, scale, bias, mean, variance, epsilon=epsilon),
        *[None] * (n.output_count - 1),
    )
