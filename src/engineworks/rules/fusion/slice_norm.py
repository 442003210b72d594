"""Rows that are left out behind a layer norm are not normalised: a classifier reads the first one."""

from __future__ import annotations

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, rule


@rule("slice of layer norm")
class SliceOfLayerNorm(Rule):
    """slice(layer_normalization(x, …)) -> layer_normalization(slice(x), …), along other axes than the norm's."""

    def patterns(self) -> tuple:
        return (self.pattern, self.with_shift)

    def pattern(self, p: PatternBuilder, x, scale) -> Shape:
        return p.slice(p.layer_normalization(x, scale))

    def with_shift(self, p: PatternBuilder, x, scale, shift) -> Shape:
        return p.slice(p.layer_normalization(x, scale, shift))

    def check(self, m: Match) -> None:
        axes, rank = m.root.op.axes, m.x.type.rank  # type: ignore[attr-defined]
        first = m.node("layer_normalization").op.axis % rank  # type: ignore[attr-defined]
        if any(a >= first for a in axes):
            raise NoMatch("the slice is along an axis that is normalised")
        if any(v.type.rank > rank - first for v in _parameters(m)):
            raise NoMatch("scale or shift differ by row")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        rows = g.add_node(m.root.op, [m.x])[0]
        return g.add_node(m.node("layer_normalization").op, [rows, *_parameters(m)])[0]


def _parameters(m: Match) -> list[Value]:
    return [m.values[name] for name in ("scale", "shift") if name in m.values]
