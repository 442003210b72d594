"""Patterns written as functions: `p.conv(x, w)` builds a tree of op names; the matcher binds it to nodes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from engineworks.ir.graph import Node, Value
from engineworks.ir.op import REGISTRY


@dataclass(frozen=True, slots=True)
class Hole:
    """A parameter of the pattern function: binds any value, the same one wherever it stands."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """An op the pattern asks for, over holes, other shapes and numbers (constants with that value)."""

    op: str
    args: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


class PatternBuilder:
    """`p.<op>(...)` in a rule's `pattern`."""

    def __getattr__(self, name: str) -> Callable[..., Shape]:
        if name.startswith("_") or name not in REGISTRY:
            raise AttributeError(f"no operator is called '{name}'")
        return lambda *args, **attributes: Shape(name, args, attributes)


class Match:
    """Bindings of a pattern's holes (`m.x`), the nodes it covers, and `m.root`, the last of them."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.by_shape: dict[int, Node] = {}

    @property
    def root(self) -> Node:
        return self.nodes[0]

    def node(self, op: str) -> Node:
        """The covered node of this op (the first met from the root)."""
        return next(n for n in self.nodes if n.op.name == op)

    def __getattr__(self, name: str) -> Value:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None


def pattern_of(function: Callable[..., Shape]) -> Shape:
    """The tree a pattern function (self bound) builds, its parameters after `p` being holes."""
    names = list(inspect.signature(function).parameters)[1:]
    return function(PatternBuilder(), *[Hole(n) for n in names])


def match(shape: Shape, root: Node) -> Match | None:
    """Bind `shape` with its last op at `root`; commutative ops match both ways; None when it does not fit."""
    return next(_match_node(shape, root, Match()), None)


def _match_node(shape: Shape, node: Node, so_far: Match) -> Iterator[Match]:
    if node.op.name != shape.op:
        return
    if any(getattr(node.op, k) != v for k, v in shape.attributes.items()):
        return
    bound = so_far.by_shape.get(id(shape))
    if bound is not None:
        if bound is node:
            yield so_far
        return
    given = list(node.inputs)
    while len(given) > len(shape.args) and given[-1] is None:
        given.pop()
    if len(given) != len(shape.args):
        return
    orders = [shape.args, shape.args[::-1]] if node.op.commutes and len(shape.args) == 2 else [shape.args]
    for args in orders:
        start = _copy(so_far)
        start.nodes.append(node)
        start.by_shape[id(shape)] = node
        yield from _match_args(args, given, start)


def _match_args(args: tuple[Any, ...], given: list[Value | None], so_far: Match) -> Iterator[Match]:
    if not args:
        yield so_far
        return
    for bound in _match_value(args[0], given[0], so_far):
        yield from _match_args(args[1:], given[1:], bound)


def _match_value(wanted: Any, value: Value | None, so_far: Match) -> Iterator[Match]:
    if isinstance(wanted, Hole):
        if value is None:
            return
        known = so_far.values.get(wanted.name)
        if known is None:
            bound = _copy(so_far)
            bound.values[wanted.name] = value
            yield bound
        elif known is value:
            yield so_far
    elif isinstance(wanted, Shape):
        if value is not None and value.producer is not None and value.index == 0:
            yield from _match_node(wanted, value.producer, so_far)
    elif value is not None and value.constant is not None and value.array.size == 1:
        actual = float(value.array.ravel()[0])
        if abs(actual - wanted) <= 1e-6 * max(1.0, abs(wanted)):
            yield so_far


def _copy(source: Match) -> Match:
    out = Match()
    out.values, out.nodes, out.by_shape = dict(source.values), list(source.nodes), dict(source.by_shape)
    return out
