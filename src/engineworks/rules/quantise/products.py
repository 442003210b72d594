"""Products of dequantised tensors become products of their integers, scaled afterwards."""

from __future__ import annotations

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.pattern import Hole, Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, rule
from engineworks.ops._integer_products import integer_conv, integer_matmul
from engineworks.rules.quantise._pairs import Dequantised, Spelling, bytes_of, dequantised


@rule("integer conv")
class IntegerConv(Rule):
    """conv(dequantised x, dequantised filters, b) -> conv of the integers in i32, times both scales, plus b.

    A bias that is dequantised from i32 at the product of both scales joins the integer sums.
    """

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return tuple(
            _product("conv", left, right, bias)
            for left in (False, True) for right in (False, True) for bias in (False, True)
        )  # fmt: skip

    def check(self, m: Match) -> None:
        x, w = bytes_of(m.root.inputs[0], "the input"), bytes_of(m.root.inputs[1], "the filter")
        if x.axis is not None:
            raise NoMatch("the input has scales along an axis")
        if not (w.x.is_constant and w.scale.is_constant and (w.zero is None or w.zero.is_constant)):
            raise NoMatch("the filters or their scales are not known at build")
        if w.axis not in (None, 0):
            raise NoMatch("the filters have scales along another axis than the outputs'")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        conv = m.root
        x, w = bytes_of(conv.inputs[0], "the input"), bytes_of(conv.inputs[1], "the filter")
        bias = conv.inputs[2] if len(conv.inputs) > 2 else None
        column = (-1, *(1,) * (conv.output.type.rank - 2))
        scale = _scale(g, x.scale, w.scale.array.reshape(column if w.axis == 0 else ()))
        whole = _whole_bias(bias, scale)
        total = integer_conv(g, conv.op, x.x, x.zero, w.x, w.zero, whole)
        y = g.mul(g.cast(total, dtype=dtypes.f32), scale)
        if bias is None or whole is not None:
            return y
        return g.add(y, g.reshape(bias, shape=(bias.type.shape[0], *column[1:])))


@rule("integer matmul")
class IntegerMatmul(Rule):
    """matmul(dequantised a, dequantised b) -> matmul of the integers in i32, times both scales."""

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return tuple(_product("matmul", left, right) for left in (False, True) for right in (False, True))

    def check(self, m: Match) -> None:
        a, b = _factors(m.root)
        if a.axis not in (None, a.x.type.rank - 2) or b.axis not in (None, b.x.type.rank - 1):
            raise NoMatch("scales differ along the axis that is summed")
        if a.axis is not None and not (a.scale.is_constant and a.zero is None):
            raise NoMatch("the left side's rows have scales that are not known at build, or zero points")
        if b.axis is not None and b.zero is not None and not (b.x.is_constant and b.zero.is_constant):
            raise NoMatch("the right side's columns have zero points that are not known at build")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        a, b = _factors(m.root)
        left = _number(g, a.scale) if a.axis is None else g.constant(a.scale.array.reshape(-1, 1))
        right = _number(g, b.scale)
        assert left is not None and right is not None
        scale = (
            _scale(g, left, right.array)
            if right.is_constant
            else g.mul(g.cast_to(left, dtypes.f32), g.cast_to(right, dtypes.f32))
        )
        total = integer_matmul(g, a.x, _number(g, a.zero), b.x, _number(g, b.zero))
        return g.mul(g.cast(total, dtype=dtypes.f32), scale)


def _product(op: str, left: bool, right: bool, bias: bool = False) -> Spelling:
    """A pattern with or without zero points and a bias."""

    def side(p: PatternBuilder, name: str, zero: bool) -> Shape:
        names = [name, f"{name}_scale"] + ([f"{name}_zero"] if zero else [])
        return p.dequantize_linear(*map(Hole, names))

    def plain(p: PatternBuilder) -> Shape:
        return getattr(p, op)(side(p, "x", left), side(p, "w", right))

    def biased(p: PatternBuilder, b: object) -> Shape:
        return getattr(p, op)(side(p, "x", left), side(p, "w", right), b)

    return biased if bias else plain


def _factors(node: Node) -> tuple[Dequantised, Dequantised]:
    return bytes_of(node.inputs[0], "the left side"), bytes_of(node.inputs[1], "the right side")


def _number(g: GraphBuilder, zero: Value | None) -> Value | None:
    """A zero point or scale of one element without axes."""
    if zero is None or zero.type.count != 1:
        return zero
    return g.constant(zero.array.reshape(()), zero.type.dtype) if zero.is_constant else g.reshape_to(zero, ())


def _scale(g: GraphBuilder, one: Value, other: np.ndarray) -> Value:
    """The product of two scales, at once where both are known."""
    first = _number(g, one)
    assert first is not None
    if first.is_constant:
        return g.constant(first.array.astype(np.float32) * other.astype(np.float32))
    return g.mul(g.cast_to(first, dtypes.f32), g.constant(other.astype(np.float32)))


def _whole_bias(bias: Value | None, scale: Value) -> Value | None:
    """The i32 bias that was dequantised at `scale`, or None."""
    found = dequantised(bias)
    if found is None or not (found.x.is_constant and found.scale.is_constant and scale.is_constant):
        return None
    if found.x.type.dtype is not dtypes.i32 or (found.zero is not None and found.zero.array.any()):
        return None
    steps, wanted = found.scale.array.ravel(), scale.array.ravel()
    close = steps.size in (1, wanted.size) or wanted.size == 1
    return found.x if close and np.allclose(steps, wanted, rtol=1e-5, atol=0) else None
