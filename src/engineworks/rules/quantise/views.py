"""DequantizeLinear behind what only moves or picks elements, so that 8-bit integers are moved."""

from __future__ import annotations

from functools import partial

from engineworks.core.dims import product
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.interpret import run_node
from engineworks.ir.pattern import Hole, Match, PatternBuilder, Shape
from engineworks.ir.rule import NoMatch, Rule, constant_scalar, rule
from engineworks.rules.quantise._pairs import Spelling, bytes_of, with_and_without_zero

MOVES = ("transpose", "reshape", "slice", "expand", "tile", "max_pool", "resize")
"""Ops of one input whose outputs are elements of it."""
MOST_PIECES = 16
"""Of a concat that is looked at."""


def picks_elements(node: Node) -> bool:
    """The node's output holds elements of its input 0, each as it was (of a maximum: of those that are compared)."""
    if node.op.name == "max_pool":
        return not node.op.indices  # type: ignore[attr-defined]
    if node.op.name == "resize":
        return node.op.mode == "nearest" and node.op.coordinates != "tf_crop_and_resize"  # type: ignore[attr-defined]
    return node.op.name in MOVES


def moved_axis(node: Node, axis: int) -> int | None:
    """Where axis `axis` of the input is in the output of a transpose or reshape; None: nowhere."""
    (source, out) = (node.inputs[0], node.output.type)
    assert source is not None
    if node.op.name == "transpose":
        return node.op.perm.index(axis)  # type: ignore[attr-defined]
    if node.op.name == "reshape":
        before = product(source.type.shape[:axis])
        for k, size in enumerate(out.shape):
            if product(out.shape[:k]) == before and size == source.type.shape[axis]:
                return k
    return None


@rule("dequantise behind a move")
class DequantiseAfterMove(Rule):
    """move(dequantize_linear(x)) -> dequantize_linear(move(x)): a view, a maximum, nearest neighbours."""

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return tuple(s for name in MOVES for s in with_and_without_zero(partial(_around, name)))

    def check(self, m: Match) -> None:
        found = bytes_of(m.root.inputs[0], "its input")
        if not picks_elements(m.root):
            raise NoMatch("it mixes elements")
        if found.axis is not None and moved_axis(m.root, found.axis) is None:
            raise NoMatch("its scales differ along an axis that the result does not have")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        found = bytes_of(m.root.inputs[0], "its input")
        axis = None if found.axis is None else moved_axis(m.root, found.axis)
        if found.x.is_constant and m.root.output.type.is_static:
            # At once: the rules about products look for constants.
            (array,) = run_node(m.root, [found.x.array], {})
            return found.again(g, g.constant(array, found.x.type.dtype), axis)
        return found.again(g, g.add_node(m.root.op, [found.x])[0], axis)


@rule("dequantise behind a gather")
class DequantiseAfterGather(Rule):
    """gather(dequantize_linear(x), i) -> dequantize_linear(gather(x, i)): tables stay narrow."""

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return (self.pattern, self.with_zero)

    def pattern(self, p: PatternBuilder, x, scale, indices) -> Shape:
        return p.gather(p.dequantize_linear(x, scale), indices)

    def with_zero(self, p: PatternBuilder, x, scale, zero, indices) -> Shape:
        return p.gather(p.dequantize_linear(x, scale, zero), indices)

    def check(self, m: Match) -> None:
        if bytes_of(m.root.inputs[0], "the table").axis is not None:
            raise NoMatch("the table has a scale for each row")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        found = bytes_of(m.root.inputs[0], "the table")
        return found.again(g, g.add_node(m.root.op, [found.x, m.indices])[0])


@rule("dequantise behind a pad")
class DequantiseAfterPad(Rule):
    """pad(dequantize_linear(x), 0) -> dequantize_linear(pad(x, zero point))."""

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return (self.pattern, self.with_zero)

    def pattern(self, p: PatternBuilder, x, scale, value) -> Shape:
        return p.pad(p.dequantize_linear(x, scale), value)

    def with_zero(self, p: PatternBuilder, x, scale, zero, value) -> Shape:
        return p.pad(p.dequantize_linear(x, scale, zero), value)

    def check(self, m: Match) -> None:
        if bytes_of(m.root.inputs[0], "what is padded").axis is not None or constant_scalar(m.value) != 0.0:
            raise NoMatch("the padding is not zeros, or scales differ")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        found = bytes_of(m.root.inputs[0], "what is padded")
        zero = g.constant(0, found.x.type.dtype) if found.zero is None else g.reshape_to(found.zero, ())
        return found.again(g, g.add_node(m.root.op, [found.x, zero])[0])


@rule("dequantise behind relu")
class DequantiseAfterRelu(Rule):
    """relu(dequantize_linear(x)) -> dequantize_linear(max(x, zero point))."""

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return tuple(with_and_without_zero(partial(_around, "relu")))

    def check(self, m: Match) -> None:
        found = bytes_of(m.root.inputs[0], "its input")
        if found.axis is not None or not found.scale.is_constant or not found.scale.array.min() > 0:
            raise NoMatch("the scale is not one positive number known at build")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        found = bytes_of(m.root.inputs[0], "its input")
        zero = g.constant(0, found.x.type.dtype) if found.zero is None else g.reshape_to(found.zero, ())
        return found.again(g, g.max(found.x, zero))


@rule("dequantise behind a concat")
class DequantiseAfterConcat(Rule):
    """concat(dequantize_linear(x), dequantize_linear(y), …) of one scale -> dequantize_linear(concat(x, y, …))."""

    shares = True

    def patterns(self) -> tuple[Spelling, ...]:
        return tuple(concat_of(count) for count in range(2, MOST_PIECES + 1))

    def check(self, m: Match) -> None:
        found = [bytes_of(v, f"piece {k}") for k, v in enumerate(m.root.inputs)]
        if not all(found[0].same_grid(f) for f in found):
            raise NoMatch("the pieces have scales or zero points of their own")

    def build(self, g: GraphBuilder, m: Match) -> Value:
        found = [bytes_of(v, "a piece") for v in m.root.inputs]
        return found[0].again(g, g.add_node(m.root.op, [f.x for f in found])[0])


def concat_of(count: int) -> Spelling:
    """A concat of `count` values."""
    return lambda p: Shape("concat", tuple(Hole(f"piece_{k}") for k in range(count)))


def _around(name: str, p: PatternBuilder, inner: Shape) -> Shape:
    return getattr(p, name)(inner)
