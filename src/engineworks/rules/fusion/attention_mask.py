"""Masks in front of a softmax: chosen values become added ones, and triangles are known for what they are."""

from __future__ import annotations

import numpy as np

from engineworks.core.dims import Dim, known_at_most, known_equal
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.pattern import Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, constant_scalar, rule

SURELY_HIDDEN = -1e9
"""A score with this added is this: f32 has no digits left for what was there, unless scores exceed 64."""
HIDDEN = -1e4
"""exp() of a score so far below the largest is zero."""
LOWEST = -1e30
"""Stands for any lower number: scaled sums stay finite, so that a row without visible keys is an average, as before."""


@rule("attention adds its mask")
class AddMask(Rule):
    """softmax(where(mask, scores, very negative)) v -> softmax(scores + where(mask, 0, very negative)) v.

    Exact but for rows without any visible key whose number is not below -1e9; those are left alone.
    """

    def patterns(self) -> tuple:
        return (self.pattern, self.hidden)

    def pattern(self, p: PatternBuilder, mask, scores, fill, v) -> Shape:
        return p.matmul(p.softmax(p.where(mask, scores, fill)), v)

    def hidden(self, p: PatternBuilder, unmask, fill, scores, v) -> Shape:
        return p.matmul(p.softmax(p.where(unmask, fill, scores)), v)

    def check(self, m: Match) -> None:
        fill, softmax = constant_scalar(m.fill), m.node("softmax")
        rank = softmax.output.type.rank
        if rank != 4 or softmax.op.axis % rank != rank - 1 or m.scores.type.dtype.name != "f32":  # type: ignore[attr-defined]
            raise NoMatch("only f32 scores [B, H, queries, keys] have an attention kernel")
        if m.scores.type.shape != softmax.output.type.shape:
            raise NoMatch("the mask widens the scores")
        if fill is None or not fill <= HIDDEN:
            raise NoMatch("hidden scores do not take a very negative number")
        if fill > SURELY_HIDDEN and not self._shows_a_key_in_each_row(m):
            raise NoMatch(f"a row may have no visible key, and {fill:g} does not hide its scores")

    def _shows_a_key_in_each_row(self, m: Match) -> bool:
        mask = m.values.get("mask", m.values.get("unmask"))
        if mask is None or mask.constant is None:
            return False
        return bool((mask.array if "mask" in m.values else ~mask.array).any(axis=-1).all())

    def build(self, g: GraphBuilder, m: Match) -> Value:
        fill = constant_scalar(m.fill)
        assert fill is not None, "checked above"
        dtype = m.scores.type.dtype
        nothing, lowest = (
            g.constant(0.0, dtype),
            g.constant(fill if np.isinf(fill) else max(fill, LOWEST), dtype),
        )
        added = g.where(m.mask, nothing, lowest) if "mask" in m.values else g.where(m.unmask, lowest, nothing)
        return g.matmul(g.softmax(g.add(m.scores, added), axis=-1), m.v)


@rule("attention without its constant mask")
class DropConstantMask(Rule):
    """A constant mask that hides nothing goes; one that hides what comes later makes the attention causal."""

    shares = True

    def pattern(self, p: PatternBuilder, q, k, v, mask) -> Shape:
        return p.attention(q, k, v, mask)

    def check(self, m: Match) -> None:
        if m.mask.constant is None:
            raise NoMatch("the mask is not constant")
        if m.root.op.causal:  # type: ignore[attr-defined]
            raise NoMatch("the attention is causal already")
        if m.mask.array.any() and causal_past(m.mask, m.q.type.shape[-2], m.k.type.shape[-2]) is None:
            raise NoMatch("the mask is no lower triangle")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        scale: float = m.root.op.scale  # type: ignore[attr-defined]
        if not m.mask.array.any():
            return g.attention(m.q, m.k, m.v, scale=scale)
        past = causal_past(m.mask, m.q.type.shape[-2], m.k.type.shape[-2])
        return g.attention(m.q, m.k, m.v, scale=scale, causal=True, past=past)


def causal_past(mask: Value, queries: Dim, keys: Dim) -> Dim | None:
    """p when the added mask hides from query i exactly the keys beyond p + i, else None."""
    shape = mask.type.shape
    if len(shape) < 2 or any(d != 1 for d in shape[:-2]):
        return None
    if known_equal(shape[-2], queries) is not True or known_equal(shape[-1], keys) is not True:
        return None
    past = _diagonal_of_added(mask)
    return past if past is not None and known_at_most(0, past) is True else None


def _diagonal_of_added(mask: Value) -> Dim | None:
    if mask.constant is not None:
        array = mask.array
        return _diagonal(array == 0) if ((array == 0) | (array <= HIDDEN)).all() else None
    node = mask.producer
    if node is None or node.op.name != "where":
        return None
    condition, shown, lowest = node.inputs
    assert condition is not None, "where takes three inputs"
    first, second = constant_scalar(shown), constant_scalar(lowest)
    if first == 0 and second is not None and second <= HIDDEN:
        return _diagonal_of_condition(condition, inverted=False)
    if second == 0 and first is not None and first <= HIDDEN:
        return _diagonal_of_condition(condition, inverted=True)
    return None


def _diagonal_of_condition(condition: Value, *, inverted: bool) -> Dim | None:
    """Of a constant triangle or a part of one."""
    shift: Dim = 0
    while condition.producer is not None and condition.producer.op.name == "slice":
        source = condition.producer.inputs[0]
        assert source is not None, "slice takes one input"
        rank = source.type.rank
        for axis, (first, _, step) in condition.producer.op.bounds(source.type.shape).items():  # type: ignore[attr-defined]
            if step != 1 or (axis < rank - 2 and first != 0):
                return None
            shift = shift + (first if axis == rank - 2 else -first if axis == rank - 1 else 0)
        condition = source
    if condition.constant is None:
        return None
    diagonal = _diagonal(~condition.array if inverted else condition.array)
    return None if diagonal is None else diagonal + shift


def _diagonal(visible: np.ndarray) -> int | None:
    """The diagonal up to which a bool [1…, rows, columns] is true, when it is a lower triangle."""
    if visible.ndim < 2 or visible.size == 0 or visible.shape[:-2] != (1,) * (visible.ndim - 2):
        return None
    plane = visible.reshape(visible.shape[-2:])
    diagonal = int(plane[0].sum()) - 1
    # pyrefly: ignore[no-matching-overload]
    return diagonal if np.array_equal(plane, np.tri(*plane.shape, diagonal, dtype=bool)) else None
