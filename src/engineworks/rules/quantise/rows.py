"""Products of weights in 8 bits without the detour over a matrix of rows that torchao writes around them."""

from __future__ import annotations

from engineworks.core.dims import known_equal
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, rule
from engineworks.rules.quantise._pairs import bytes_of


@rule("weights in bytes by all rows")
class WeightsByAllRows(Rule):
    """reshape(matmul(reshape(x), dequantised w) c) -> matmul(x, dequantised w) c: what follows joins the product."""

    shares = True

    def pattern(self, p: PatternBuilder, x, w, scale, c) -> Shape:
        return p.reshape(p.mul(p.matmul(p.reshape(x), p.dequantize_linear(w, scale)), c))

    def check(self, m: Match) -> None:
        product = next(n for n in m.nodes if n.op.name == "matmul")
        weights, whole = bytes_of(product.inputs[1], "the right side"), m.root.output.type
        if not weights.x.is_constant or weights.x.type.rank != 2:
            raise NoMatch("the right side is no matrix of weights")
        if m.c.type.rank > 1 or not known_equal(whole.shape[-1], weights.x.type.shape[1]):
            raise NoMatch("the factors or the columns are others behind the product")
        if whole.rank < 3:
            raise NoMatch("the result is a matrix of rows")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        product = next(n for n in m.nodes if n.op.name == "matmul")
        weights = product.inputs[1]
        assert weights is not None
        rows = g.reshape_to(m.x, (*m.root.output.type.shape[:-1], weights.type.shape[0]))
        return g.mul(g.add_node(product.op, [rows, weights])[0], m.c)
