"""Zero padding in front of a convolution becomes its own padding."""

from __future__ import annotations

import dataclasses

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, constant_scalar, rule


@rule("fold pad into conv")
class PadConv(Rule):
    """pad(x, zeros on spatial axes) -> conv: the convolution pads."""

    def patterns(self) -> tuple:
        return (self.pattern, self.with_bias, self.with_value, self.with_value_and_bias)

    def pattern(self, p: PatternBuilder, x, w) -> Shape:
        return p.conv(p.pad(x), w)

    def with_bias(self, p: PatternBuilder, x, w, b) -> Shape:
        return p.conv(p.pad(x), w, b)

    def with_value(self, p: PatternBuilder, x, w, value) -> Shape:
        return p.conv(p.pad(x, value), w)

    def with_value_and_bias(self, p: PatternBuilder, x, w, b, value) -> Shape:
        return p.conv(p.pad(x, value), w, b)

    def check(self, m: Match) -> None:
        pad, conv = m.node("pad").op, m.node("conv").op
        if pad.mode != "constant" or ("value" in m.values and constant_scalar(m.values["value"]) != 0.0):  # type: ignore[attr-defined]
            raise NoMatch("the padding is not zeros")
        ends = (*pad.before, *pad.after)  # type: ignore[attr-defined]
        if not all(isinstance(d, int) and d >= 0 for d in ends):
            raise NoMatch("the padding is symbolic or negative")
        rank = m.x.type.rank
        if any(pad.before[:2]) or any(pad.after[:2]) or len(pad.before) != rank:  # type: ignore[attr-defined]
            raise NoMatch("batch or channels are padded")
        if conv.auto_pad not in ("NOTSET", "VALID"):  # type: ignore[attr-defined]
            raise NoMatch("the convolution pads by itself")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        pad, conv = m.node("pad").op, m.node("conv").op
        spatial = m.x.type.rank - 2
        own = conv.pads or (0,) * (2 * spatial)  # type: ignore[attr-defined]
        extra = (*pad.before[2:], *pad.after[2:])  # type: ignore[attr-defined]
        pads = tuple(a + b for a, b in zip(own, extra, strict=True))
        merged = dataclasses.replace(conv, pads=pads, auto_pad="NOTSET")  # type: ignore[type-var]
        operands = [m.x, m.w] + ([m.values["b"]] if "b" in m.values else [])
        return g.add_node(merged, operands)[0]
