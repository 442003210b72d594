"""Scales and shifts behind a convolution go into its filters and bias."""

from __future__ import annotations

import numpy as np

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, rule


def _require_constant(value: Value, what: str) -> None:
    if value.constant is None:
        raise NoMatch(f"{what} is not constant")


def _per_channel(value: Value, out: Value) -> np.ndarray | None:
    """A constant that varies along the channel axis only, as [C]; None when it varies otherwise."""
    if value.constant is None:
        return None
    array = value.array
    padded = array.reshape((1,) * (out.type.rank - array.ndim) + array.shape)
    channels = out.type.shape[1]
    if not isinstance(channels, int) or padded.ndim != out.type.rank:
        return None
    if any(d != 1 for a, d in enumerate(padded.shape) if a != 1):
        return None
    return np.broadcast_to(padded.reshape(-1), (channels,)) if padded.size in (1, channels) else None


@rule("fold batch_normalization into conv")
class ConvBatchNorm(Rule):
    """conv -> batch_normalization: scale the filters, add the shift. Exact up to rounding."""

    def patterns(self) -> tuple:
        return (self.pattern, self.with_bias)

    def pattern(self, p: PatternBuilder, x, w, scale, shift, mean, var) -> Shape:
        return p.batch_normalization(p.conv(x, w), scale, shift, mean, var)

    def with_bias(self, p: PatternBuilder, x, w, b, scale, shift, mean, var) -> Shape:
        return p.batch_normalization(p.conv(x, w, b), scale, shift, mean, var)

    def check(self, m: Match) -> None:
        for name, value in m.values.items():
            if name != "x":
                _require_constant(value, {"w": "the filter", "b": "the bias"}.get(name, name))
        if m.w.type.dtype is not m.node("conv").output.type.dtype:
            raise NoMatch(f"filters of {m.w.type.dtype} cannot hold the scale")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        conv, norm = m.node("conv"), m.node("batch_normalization")
        wide = {k: v.array.astype(np.float64) for k, v in m.values.items() if k != "x"}
        factor = wide["scale"] / np.sqrt(wide["var"] + norm.op.epsilon)  # type: ignore[attr-defined]
        bias = (wide.get("b", 0.0) - wide["mean"]) * factor + wide["shift"]
        return _conv(g, conv, m.x, wide["w"], factor, bias)


@rule("fold batch_normalization into conv_transpose")
class ConvTransposeBatchNorm(Rule):
    """conv_transpose -> batch_normalization with one group: as for conv, the filters' output axis being the second."""

    def patterns(self) -> tuple:
        return (self.pattern, self.with_bias)

    def pattern(self, p: PatternBuilder, x, w, scale, shift, mean, var) -> Shape:
        return p.batch_normalization(p.conv_transpose(x, w), scale, shift, mean, var)

    def with_bias(self, p: PatternBuilder, x, w, b, scale, shift, mean, var) -> Shape:
        return p.batch_normalization(p.conv_transpose(x, w, b), scale, shift, mean, var)

    def check(self, m: Match) -> None:
        for name, value in m.values.items():
            if name != "x":
                _require_constant(value, name)
        if m.node("conv_transpose").op.groups != 1:  # type: ignore[attr-defined]
            raise NoMatch("the transposed convolution has groups")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        conv, norm = m.node("conv_transpose"), m.node("batch_normalization")
        wide = {k: v.array.astype(np.float64) for k, v in m.values.items() if k != "x"}
        factor = wide["scale"] / np.sqrt(wide["var"] + norm.op.epsilon)  # type: ignore[attr-defined]
        bias = (wide.get("b", 0.0) - wide["mean"]) * factor + wide["shift"]
        dtype = m.x.type.dtype
        filters = wide["w"] * factor.reshape((1, -1) + (1,) * (wide["w"].ndim - 2))
        return g.add_node(conv.op, [m.x, g.constant(filters, dtype), g.constant(bias, dtype)])[0]


@rule("fold a channel scale into conv")
class ConvScale(Rule):
    """conv -> mul by a constant per channel: scale the filters and the bias."""

    def patterns(self) -> tuple:
        return (self.pattern, self.with_bias)

    def pattern(self, p: PatternBuilder, x, w, c) -> Shape:
        return p.mul(p.conv(x, w), c)

    def with_bias(self, p: PatternBuilder, x, w, b, c) -> Shape:
        return p.mul(p.conv(x, w, b), c)

    def check(self, m: Match) -> None:
        _check_channel(m, "factor")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        conv = m.node("conv")
        factor = _per_channel(m.c, conv.output)
        assert factor is not None
        bias = m.values["b"].array * factor if "b" in m.values else None
        return _conv(g, conv, m.x, m.w.array, factor, bias)


@rule("fold a channel shift into conv")
class ConvShift(Rule):
    """conv -> add of a constant per channel: it becomes the bias."""

    def patterns(self) -> tuple:
        return (self.pattern, self.with_bias)

    def pattern(self, p: PatternBuilder, x, w, c) -> Shape:
        return p.add(p.conv(x, w), c)

    def with_bias(self, p: PatternBuilder, x, w, b, c) -> Shape:
        return p.add(p.conv(x, w, b), c)

    def check(self, m: Match) -> None:
        _check_channel(m, "summand")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        conv = m.node("conv")
        shift = _per_channel(m.c, conv.output)
        assert shift is not None
        bias = shift + (m.values["b"].array if "b" in m.values else 0)
        return _conv(g, conv, m.x, m.w.array, None, bias)


def _check_channel(m: Match, what: str) -> None:
    for name in ("w", "b", "c"):
        if name in m.values:
            _require_constant(m.values[name], {"w": "the filter", "b": "the bias", "c": f"the {what}"}[name])
    out = m.node("conv").output
    if what == "factor" and m.w.type.dtype is not out.type.dtype:
        raise NoMatch(f"filters of {m.w.type.dtype} cannot hold a factor of {out.type.dtype}")
    if _per_channel(m.c, out) is None:
        raise NoMatch(f"the {what} {m.c.type} does not vary along channels only")
    if m.root.output.type.shape != out.type.shape:
        raise NoMatch(f"the {what} widens the shape")


def _conv(
    g: GraphBuilder, conv, x: Value, w: np.ndarray, factor: np.ndarray | None, bias: np.ndarray | None
) -> Value:
    filters, dtype = conv.inputs[1], conv.output.type.dtype
    if factor is not None:
        filters = g.constant(w * factor.reshape((-1,) + (1,) * (w.ndim - 1)), dtype)
    shift = None if bias is None else g.constant(bias, dtype)
    return g.add_node(conv.op, [x, filters] + ([shift] if shift is not None else []))[0]
