"""Arithmetic with constants that has a cheaper equal."""

from __future__ import annotations

import numpy as np

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, constant_scalar, rule


@rule("pow by a small constant")
class PowByConstant(Rule):
    """x**2 -> x*x, x**3 -> x*x*x, x**0.5 -> sqrt(x), x**1 -> x, x**-1 -> 1/x."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object, e: object) -> Shape:
        return p.pow(x, e)

    def check(self, m: Match) -> None:
        if constant_scalar(m.e) not in (1.0, 2.0, 3.0, 0.5, -1.0) or not m.x.type.dtype.is_float:
            raise NoMatch("the exponent is not 1, 2, 3, 1/2 or -1")
        if m.root.output.type.shape != m.x.type.shape:
            raise NoMatch("the exponent widens the shape")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        match constant_scalar(m.e):
            case 1.0:
                return m.x
            case 2.0:
                return g.mul(m.x, m.x)
            case 3.0:
                return g.mul(g.mul(m.x, m.x), m.x)
            case 0.5:
                return g.sqrt(m.x)
        return g.reciprocal(m.x)


@rule("divide by a power of two")
class DivideByPowerOfTwo(Rule):
    """x / c -> x * (1/c) where 1/c is exact."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object, c: object) -> Shape:
        return p.div(x, c)

    def check(self, m: Match) -> None:
        value = constant_scalar(m.c)
        if value is None or not m.x.type.dtype.is_float or value == 0 or abs(np.frexp(value)[0]) != 0.5:
            raise NoMatch("")
        if m.root.output.type.shape != m.x.type.shape:
            raise NoMatch("")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return g.mul(m.x, 1.0 / float(m.c.array.ravel()[0]))


@rule("drop multiplication by one")
class DropMulByOne(Rule):
    """x * 1 -> x."""

    shares = True

    def pattern(self, p: PatternBuilder, x: object) -> Shape:
        return p.mul(x, 1.0)

    def check(self, m: Match) -> None:
        if m.root.output.type.shape != m.x.type.shape or m.x.constant is not None:
            raise NoMatch("")
        # The pattern takes numbers close to one, too.
        if not any(v is not None and constant_scalar(v) == 1.0 for v in m.root.inputs):
            raise NoMatch("the factor is near one only")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        return m.x
