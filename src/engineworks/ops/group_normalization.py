"""Normalisation over groups of channels of each sample, then scale and shift of each channel."""

import numpy as np

from engineworks.core.dims import Dim, known_equal, product
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, op
from engineworks.ops._moments import centered, numpy_along_axis, standardised, widened
from engineworks.ops._torch import filled


@op("group_normalization")
class GroupNormalization(Op):
    """scale[c] (x - mean) / √(variance + epsilon) + bias[c], moments over each of `groups` runs of channels.

    Args:
        x: [N, C, ...] floating point, C divisible by `groups`; scale, bias: [C].
    With as many groups as channels this is instance normalisation. f16 and bf16 are computed in f32.
    """

    groups: Dim
    epsilon: float = 1e-5

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x = inputs[0]
        assert x is not None
        if x.rank < 2 or (
            isinstance(x.shape[1], int) and isinstance(self.groups, int) and x.shape[1] % self.groups
        ):
            raise InvalidModel(f"{x} has no axis of channels that divides into {self.groups} groups")
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, scale, bias = (np.asarray(a) for a in inputs)
        # pyrefly: ignore[no-matching-overload]
        grouped = x.reshape(x.shape[0], self.groups, int(np.prod(x.shape[1:])) // self.groups)
        y = standardised(grouped, (2,), self.epsilon).reshape(x.shape)
        return y * numpy_along_axis(scale, 1, x.ndim) + numpy_along_axis(bias, 1, x.ndim)

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        x, scale, bias = inputs
        assert x is not None and scale is not None and bias is not None
        shape, dtype = x.type.shape, x.type.dtype
        # All arithmetic is on one side of the reshapes, so that it is one loop nest.
        split = () if known_equal(shape[1], self.groups) is True else (self.groups, shape[1] // self.groups)
        if split:
            x = g.reshape_to(x, (shape[0], *split, *shape[2:]))
        wide = widened(g, x)
        _, low, variance = centered(g, wide, tuple(range(2, x.type.rank)))
        y = g.mul(low, g.rsqrt(g.add(variance, self.epsilon)))
        channels = (1, *(split or (shape[1],)), *(1 for _ in shape[2:]))
        y = g.mul(y, g.reshape_to(g.cast_to(scale, wide.type.dtype), channels))
        y = g.add(y, g.reshape_to(g.cast_to(bias, wide.type.dtype), channels))
        return g.reshape_to(g.cast_to(y, dtype), shape)

    examples = (
        example(f32(2, 6, 5, 3), f32(6, constant=True), f32(6, constant=True), groups=2),
        example(f32("N", 4, 7), f32(4, constant=True), f32(4, constant=True), groups=4, dims={"N": (1, 4)}),
    )


@from_onnx("GroupNormalization", since=21)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.group_normalization(
        n[0], n[1], n[2], groups=n.attr("num_groups"), epsilon=n.attr("epsilon", 1e-5)
    )


@from_onnx("GroupNormalization", since=18)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Until opset 20 scale and bias are one for each group."""
    groups, channels = n.attr("num_groups"), n[0].type.shape[1]

    def for_channels(x: Value) -> Value:
        each = g.expand(g.reshape_to(x, (groups, 1)), shape=(groups, channels // groups))
        return g.reshape_to(each, (channels,))

    epsilon = n.attr("epsilon", 1e-5)
    return g.group_normalization(n[0], for_channels(n[1]), for_channels(n[2]), groups=groups, epsilon=epsilon)


@from_torch("aten.group_norm.default", "aten.native_group_norm.default", "aten.instance_norm.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """Mean and inverse standard deviation, which training wants, are made when they are asked for. An instance
    normalisation has as many groups as channels.
    """
    x = n.arg("input")
    if "use_input_stats" in n.foreign.attributes and not n.arg("use_input_stats"):
        return (_by_running_moments(g, n, x),)
    channels = x.type.shape[1]
    groups = next((n.arg(name) for name in ("num_groups", "group") if name in n.foreign.attributes), channels)
    given = ((1, n.arg("weight")), (0, n.arg("bias")))
    scale, bias = (filled(g, k, x.type.dtype, (channels,)) if v is None else v for k, v in given)
    y = g.group_normalization(x, scale, bias, groups=groups, epsilon=n.arg("eps"))
    if not any(n.output_names[1:]):
        return (y,)
    grouped = g.reshape_to(widened(g, x), (x.type.shape[0], groups, product(x.type.shape[1:]) // groups))
    mean, _, variance = centered(g, grouped, (2,))
    moments = (mean, g.rsqrt(g.add(variance, n.arg("eps"))))
    return y, *(g.cast_to(g.squeeze(v, (2,)), n.result_dtype(k)) if n.output_names[k] else None
                for k, v in enumerate(moments, 1))  # fmt: skip


def _by_running_moments(g: GraphBuilder, n: ForeignNode, x: Value) -> Value:
    """An instance normalisation outside of training that has tracked its moments."""
    channels = (x.type.shape[1],)
    given = ((1, n.arg("weight")), (0, n.arg("bias")))
    scale, bias = (filled(g, k, x.type.dtype, channels) if v is None else v for k, v in given)
    return g.batch_normalization(
        x, scale, bias, n.arg("running_mean"), n.arg("running_var"), epsilon=n.arg("eps")
    )
