"""softmax(q kᵀ · scale + mask) v in one kernel, so that the scores are never written to memory."""

from __future__ import annotations

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, constant_scalar, rule
from engineworks.rules.fusion.attention_mask import causal_past


@rule("attention")
class FuseAttention(Rule):
    """matmul, scale (before or after), mask, softmax over the last axis, matmul -> attention."""

    def patterns(self) -> tuple:
        return (
            self.scaled_masked, self.divided_masked, self.masked, self.scaled, self.divided, self.pattern,
        )  # fmt: skip

    def pattern(self, p: PatternBuilder, q, kt, v) -> Shape:
        return p.matmul(p.softmax(p.matmul(q, kt)), v)

    def scaled(self, p: PatternBuilder, q, kt, v, factor) -> Shape:
        return p.matmul(p.softmax(p.mul(p.matmul(q, kt), factor)), v)

    def divided(self, p: PatternBuilder, q, kt, v, divisor) -> Shape:
        return p.matmul(p.softmax(p.div(p.matmul(q, kt), divisor)), v)

    def masked(self, p: PatternBuilder, q, kt, v, mask) -> Shape:
        return p.matmul(p.softmax(p.add(p.matmul(q, kt), mask)), v)

    def scaled_masked(self, p: PatternBuilder, q, kt, v, factor, mask) -> Shape:
        return p.matmul(p.softmax(p.add(p.mul(p.matmul(q, kt), factor), mask)), v)

    def divided_masked(self, p: PatternBuilder, q, kt, v, divisor, mask) -> Shape:
        return p.matmul(p.softmax(p.add(p.div(p.matmul(q, kt), divisor), mask)), v)

    def check(self, m: Match) -> None:
        softmax = m.node("softmax")
        rank = softmax.output.type.rank
        if softmax.op.axis % rank != rank - 1:  # type: ignore[attr-defined]
            raise NoMatch("softmax is not over the last axis")
        if rank != 4 or not (m.q.type.rank == m.kt.type.rank == m.v.type.rank == 4):
            raise NoMatch(
                f"the operands have ranks {m.q.type.rank}, {m.kt.type.rank}, {m.v.type.rank}; four is wanted"
            )
        if m.q.type.dtype.name not in ("f32", "f16", "bf16"):
            raise NoMatch(f"dtype {m.q.type.dtype}")
        if m.q.type.shape[:2] != m.kt.type.shape[:2] or m.kt.type.shape[:2] != m.v.type.shape[:2]:
            raise NoMatch("batches or heads differ")
        for name in ("factor", "divisor"):
            if name in m.values and constant_scalar(m.values[name]) is None:
                raise NoMatch("the scale is not a constant number")
        scores = m.nodes[-1].output.type
        if "mask" in m.values and softmax.output.type.shape != scores.shape:
            raise NoMatch("the mask widens the scores")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        scale = 1.0
        if "factor" in m.values:
            scale = constant_scalar(m.values["factor"]) or 0.0
        elif "divisor" in m.values:
            scale = 1.0 / (constant_scalar(m.values["divisor"]) or float("nan"))
        q, q_scale = _unscaled(m.q)
        kt, k_scale = _unscaled(m.kt)
        rank = kt.type.rank
        swap = (*range(rank - 2), rank - 1, rank - 2)
        producer = kt.producer
        if producer is not None and producer.op.name == "transpose":
            inner = producer.op.perm  # type: ignore[attr-defined]
            perm = tuple(inner[a] for a in swap)
            source = producer.inputs[0]
            assert source is not None
            k = source if perm == tuple(range(rank)) else g.transpose(source, perm=perm)
        else:
            k = g.transpose(kt, perm=swap)
        scale *= q_scale * k_scale
        mask = m.values.get("mask")
        if mask is None:
            return g.attention(q, k, m.v, scale=scale)
        past = causal_past(mask, q.type.shape[-2], k.type.shape[-2])
        if past is None:
            return g.attention(q, k, m.v, mask, scale=scale)
        return g.attention(q, k, m.v, scale=scale, causal=True, past=past)


def _unscaled(value: Value) -> tuple[Value, float]:
    """An operand without a constant factor in front of it, and the factor."""
    node = value.producer
    if node is not None and node.op.name in ("mul", "div"):
        a, b = node.inputs
        factor = constant_scalar(b)
        if factor is not None and a is not None and a.type.shape == value.type.shape:
            return a, (factor if node.op.name == "mul" else 1.0 / factor)
        factor = constant_scalar(a)
        if (
            node.op.name == "mul"
            and factor is not None
            and b is not None
            and b.type.shape == value.type.shape
        ):
            return b, factor
    return value, 1.0
