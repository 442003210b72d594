"""Ops that do nothing: identity, casts and reshapes to what a tensor already is, transposes that undo each other."""

from __future__ import annotations

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, rule


@rule("drop identity")
class DropIdentity(Rule):
    """identity(x) -> x."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object) -> Shape:
        return p.identity(x)

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return m.x


@rule("drop cast to the same dtype")
class DropCast(Rule):
    """cast(x: f32, f32) -> x."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object) -> Shape:
        return p.cast(x)

    def check(self, m: Match) -> None:
        if m.x.type.dtype is not m.root.output.type.dtype:
            raise NoMatch("")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return m.x


@rule("drop reshape to the same shape")
class DropReshape(Rule):
    """reshape(x, shape of x) -> x."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object) -> Shape:
        return p.reshape(x)

    def check(self, m: Match) -> None:
        if m.x.type.shape != m.root.output.type.shape:
            raise NoMatch("")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return m.x


@rule("merge reshapes")
class MergeReshapes(Rule):
    """reshape(reshape(x)) -> reshape(x)."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object) -> Shape:
        return p.reshape(p.reshape(x))

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return g.reshape_to(m.x, m.root.output.type.shape)


@rule("merge transposes")
class MergeTransposes(Rule):
    """transpose(transpose(x, p), q) -> transpose(x, p∘q), or x when they undo each other."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object) -> Shape:
        return p.transpose(p.transpose(x))

    def build(self, g: GraphBuilder, m: Match) -> Value:
        outer, inner = m.nodes[0].op.perm, m.nodes[1].op.perm  # type: ignore[attr-defined]
        perm = tuple(inner[a] for a in outer)
        return m.x if perm == tuple(range(len(perm))) else g.transpose(m.x, perm=perm)


@rule("drop expand to the same shape")
class DropExpand(Rule):
    """expand(x, shape of x) -> x."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object) -> Shape:
        return p.expand(x)

    def check(self, m: Match) -> None:
        if m.x.type.shape != m.root.output.type.shape:
            raise NoMatch("")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return m.x
