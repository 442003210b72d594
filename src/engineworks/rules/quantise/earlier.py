"""QuantizeLinear in front of what only moves or picks elements, so that the kernel before it stores 8-bit integers."""

from __future__ import annotations

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Hole, Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, rule
from engineworks.rules.quantise._pairs import Spelling, dequantised, same_constant, same_zero
from engineworks.rules.quantise.views import MOST_PIECES, concat_of, picks_elements

MOVES = ("transpose", "reshape", "max_pool", "resize")


@rule("quantise before a move")
class QuantiseBeforeMove(Rule):
    """quantize_linear(move(x)) -> move(quantize_linear(x)), where x has no other reader."""

    def patterns(self) -> tuple[Spelling, ...]:
        return tuple(_quantised(name, zero) for name in MOVES for zero in (False, True))

    def check(self, m: Match) -> None:
        move = m.nodes[1]
        if not picks_elements(move):
            raise NoMatch("it mixes elements")
        if m.root.op.block or m.scale.type.count != 1:  # type: ignore[attr-defined]
            raise NoMatch("scales differ along an axis")
        if move.op.name == "max_pool" and not (m.scale.is_constant and m.scale.array.min() > 0):
            raise NoMatch("the scale is not known to be positive")
        if len(m.x.uses) != 1 or m.x.producer is None:
            raise NoMatch("the kernel before it has other readers")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        narrow = g.add_node(m.root.op, [m.x, *m.root.inputs[1:]])[0]
        return g.add_node(m.nodes[1].op, [narrow])[0]


@rule("quantise before a concat")
class QuantiseBeforeConcat(Rule):
    """quantize_linear(concat(x, y, …)) -> concat(quantize_linear(x), quantize_linear(y), …)."""

    def patterns(self) -> tuple[Spelling, ...]:
        return tuple(
            _quantised_concat(count, zero) for count in range(2, MOST_PIECES + 1) for zero in (False, True)
        )

    def check(self, m: Match) -> None:
        if m.root.op.block or m.scale.type.count != 1:  # type: ignore[attr-defined]
            raise NoMatch("scales differ along an axis")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        pieces = [g.add_node(m.root.op, [v, *m.root.inputs[1:]])[0] for v in m.nodes[1].inputs]
        return g.add_node(m.nodes[1].op, pieces)[0]


@rule("drop quantise of the same grid")
class DropRequantise(Rule):
    """quantize_linear(dequantize_linear(x)) -> x, where both have one scale and zero point."""

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return (self.pattern, self.with_zeros, self.with_inner_zero, self.with_outer_zero)

    def pattern(self, p: PatternBuilder, x, scale, other) -> Shape:
        return p.quantize_linear(p.dequantize_linear(x, scale), other)

    def with_inner_zero(self, p: PatternBuilder, x, scale, zero, other) -> Shape:
        return p.quantize_linear(p.dequantize_linear(x, scale, zero), other)

    def with_outer_zero(self, p: PatternBuilder, x, scale, other, other_zero) -> Shape:
        return p.quantize_linear(p.dequantize_linear(x, scale), other, other_zero)

    def with_zeros(self, p: PatternBuilder, x, scale, zero, other, other_zero) -> Shape:
        return p.quantize_linear(p.dequantize_linear(x, scale, zero), other, other_zero)

    def check(self, m: Match) -> None:
        found = dequantised(m.root.inputs[0])
        same = (
            found is not None and found.axis is None and not m.root.op.block  # type: ignore[attr-defined]
            and m.x.type.dtype is m.root.output.type.dtype
            and same_constant(m.scale, m.other) and same_zero(found.zero, m.values.get("other_zero"))
        )  # fmt: skip
        if not same:
            raise NoMatch("scale or zero point differ, so that numbers are rounded anew")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return m.x


@rule("signed to unsigned")
class SignedToUnsigned(Rule):
    """Inner i8 with a zero point -> u8 with that plus 128: equal numbers; the zero point of a relu becomes 0."""

    shares = True

    def pattern(self, p: PatternBuilder, x, scale, zero, other, other_zero) -> Shape:
        return p.dequantize_linear(p.quantize_linear(x, scale, zero, dtype=dtypes.i8), other, other_zero)

    def check(self, m: Match) -> None:
        narrow = m.nodes[1].output
        zeros = (m.zero, m.other_zero)
        if not all(z.is_constant and z.type.count == 1 for z in zeros):
            raise NoMatch("the zero points are not known at build")
        if not m.zero.array.any():
            raise NoMatch("the zero point is 0")
        if any(user.op.name != "dequantize_linear" for user, _ in narrow.uses):
            raise NoMatch("the integers are read as they are")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        import dataclasses

        quantise = dataclasses.replace(m.nodes[1].op, dtype=dtypes.u8)  # type: ignore[type-var]
        zero, other = (g.constant(z.array.astype(np.int16) + 128, dtypes.u8) for z in (m.zero, m.other_zero))
        return g.add_node(m.root.op, [g.add_node(quantise, [m.x, m.scale, zero])[0], m.other, other])[0]


def _quantised(name: str, zero: bool) -> Spelling:
    def plain(p: PatternBuilder, x: object, scale: object) -> Shape:
        return p.quantize_linear(getattr(p, name)(x), scale)

    def shifted(p: PatternBuilder, x: object, scale: object, zero: object) -> Shape:
        return p.quantize_linear(getattr(p, name)(x), scale, zero)

    return shifted if zero else plain


def _quantised_concat(count: int, zero: bool) -> Spelling:
    holes = (Hole("scale"), Hole("zero")) if zero else (Hole("scale"),)
    return lambda p: Shape("quantize_linear", (concat_of(count)(p), *holes))
