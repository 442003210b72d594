"""Slices of a merged projection become projections of their own, so that no copy is needed."""

from __future__ import annotations

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, rule


class _Sliced(Rule):
    """Shared check: one slice along the last axis, with constant weights."""

    shares = True

    def check(self, m: Match) -> None:
        op, product = m.root.op, m.node("matmul").output.type
        if op.axes not in ((product.rank - 1,), (-1,)) or op.steps not in ((), (1,)):  # type: ignore[attr-defined]
            raise NoMatch("the slice is not along the last axis")
        if m.w.constant is None or m.w.type.rank != 2:
            raise NoMatch("the weights are not a constant matrix")
        if not all(isinstance(d, int) for d in (*op.starts, *op.ends)):  # type: ignore[attr-defined]
            raise NoMatch("the slice has symbolic ends")
        if any(user.op.name != "slice" for user, _ in m.nodes[1].output.uses):
            raise NoMatch("the whole product is read, too")

    def columns(self, m: Match) -> slice:
        """The columns of the weights that the slice keeps."""
        op, width = m.root.op, m.w.array.shape[1]
        return slice(*slice(op.starts[0], op.ends[0]).indices(width))  # type: ignore[attr-defined]


@rule("slice of matmul")
class SliceOfMatmul(_Sliced):
    """slice(matmul(x, w)) -> matmul(x, columns of w)."""

    def pattern(self, p: PatternBuilder, x, w) -> Shape:
        return p.slice(p.matmul(x, w))

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return g.matmul(m.x, g.constant(m.w.array[:, self.columns(m)]))


@rule("slice of matmul and bias")
class SliceOfBiasedMatmul(_Sliced):
    """slice(matmul(x, w) + b) -> matmul(x, columns of w) + columns of b."""

    def pattern(self, p: PatternBuilder, x, w, b) -> Shape:
        return p.slice(p.add(p.matmul(x, w), b))

    def check(self, m: Match) -> None:
        super().check(m)
        if m.b.constant is None or m.b.type.rank != 1:
            raise NoMatch("the bias is not a constant vector")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        kept = self.columns(m)
        return g.add(g.matmul(m.x, g.constant(m.w.array[:, kept])), g.constant(m.b.array[kept]))
