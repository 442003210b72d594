"""What Loop and Scan share: bodies unrolled at build, their results stacked; or run round by round in the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, known_equal, symbols_of
from engineworks.core.types import TensorType
from engineworks.errors import UnsupportedOperator
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode
from engineworks.ir.graph import Region, Value, regions_of

MOST_NODES = 20_000
"""That unrolling may make."""
UNROLLED_ROUNDS = 64
"""Longer loops become a loop of the engine where they can."""
ENDLESS = 1 << 31
"""A limit of so many rounds is none."""


Import = Callable[[], tuple[Value, ...]]


class Body:
    """The body of a loop, imported anew for each round: what is constant in a round is constant inside it."""

    def __init__(self, g: GraphBuilder, n: ForeignNode) -> None:
        self.g, self.n = g, n
        self._made = 0

    def types(self, arguments: Sequence[TensorType]) -> list[TensorType]:
        """Types of the outputs for inputs of these types."""
        region, _ = self.n.import_graph(self.n.attr("body"), list(arguments))
        return [v.type for v in region.graph.outputs]

    def run(self, arguments: Sequence[Value]) -> list[Value]:
        """One round, its nodes appended to the graph. Raises UnsupportedOperator when they become too many."""
        region, captured = self.n.import_graph(self.n.attr("body"), list(arguments))
        self._made += max(1, len(region.graph.nodes))
        if self._made > MOST_NODES:
            raise self.n.unsupported(f"unrolling it makes more than {MOST_NODES} nodes")
        return self.g.inline(region, [*(v for v in arguments if v.constant is None), *captured])


def stacked(g: GraphBuilder, parts: Sequence[Value], one: TensorType, axis: int = 0) -> Value:
    """The parts along a new axis; `one` is the type of a part, for when there are none."""
    if not parts:
        if not one.is_static:
            shape = (*one.shape[:axis], 0, *one.shape[axis:])
            return g.expand(g.constant(np.zeros((), one.dtype.numpy)), shape=shape)
        return g.constant(np.zeros((*one.shape[:axis], 0, *one.shape[axis:]), one.dtype.numpy))  # type: ignore[arg-type]
    wide = [g.unsqueeze(part, (axis,)) for part in parts]
    return wide[0] if len(wide) == 1 else g.concat(*wide, axis=axis)


def first_that_works(first: Import, second: Import) -> tuple[Value, ...]:
    """The outputs by one way, else by another. Raises UnsupportedOperator with both reasons when neither works."""
    try:
        return first()
    except UnsupportedOperator as why:
        try:
            return second()
        except UnsupportedOperator as other:
            raise UnsupportedOperator(f"{why}\n  {other}") from other


def rounds_of(
    g: GraphBuilder,
    n: ForeignNode,
    region: Region,
    captured: Sequence[Value],
    carried: Sequence[Value],
    limit: Value,
    goes_on: Value,
) -> tuple[list[Value], list[Value]]:
    """The carried values after the last round, and what the rounds give, stacked: a loop of the engine.

    Args:
        region: inputs: the round [] i64, whether it goes on [] bool, the carried values, the captured ones; outputs:
            whether it goes on, the carried values, what the round gives.
        limit: [] or [1] i64, the most rounds; goes_on: [] or [1] bool, whether there is a first round.
    Raises:
        UnsupportedOperator: types change from round to round, or the size of the results has no bound.
    """
    given = region.graph.outputs[1 + len(carried) :]
    _check_carried(n, carried, region)
    following = region.graph.outputs[0]
    always = _is_true(goes_on) and (following is region.graph.inputs[1] or _is_true(following))
    known = _known_limit(limit) if always else None
    if always and isinstance(known, int) and known >= ENDLESS:
        raise n.invalid("it goes on for ever: its condition is always true, and nothing limits its rounds")
    rounds = known if known is not None else _counted(g, limit)
    if given and known is None and bounds(rounds)[1] is None:
        raise n.unsupported(
            "it collects a result each round, and nothing bounds the number of rounds when the engine is built; "
            "give the number of rounds a constant"
        )
    _check_given(n, region, given)
    results = g.loop(
        limit, goes_on, *carried, *captured, body=region, carried=len(carried), rounds=rounds,
        shapes=tuple(v.type.shape for v in given), sizes=(rounds,) if given and known is None else (),
    )  # fmt: skip
    results = list(results) if isinstance(results, tuple) else [results]
    return results[: len(carried)], results[len(carried) :]


def _is_true(value: Value) -> bool:
    return value.known is not None and value.known.ravel()[0] in (True, np.True_)


def _known_limit(limit: Value) -> Dim | None:
    """The limit as a dim that is at least 0, where constants and shapes tell it."""
    known = None if limit.known is None else limit.known.ravel()[0]
    if isinstance(known, (int, np.integer)):
        return max(0, int(known))
    return known if known is not None and (bounds(known)[0] or 0) >= 0 else None


def _counted(g: GraphBuilder, limit: Value) -> Dim:
    """A symbol for the number of rounds that the data decide."""
    known = _known_limit(limit)
    most = None if known is None else bounds(known)[1]
    return g.graph.scope.fresh("rounds", 0, None if most is None or most >= ENDLESS else most)


def _check_carried(n: ForeignNode, carried: Sequence[Value], region: Region) -> None:
    for k, (before, after) in enumerate(zip(carried, region.graph.outputs[1:], strict=False)):
        a, b = before.type, after.type
        if a.dtype is not b.dtype:
            raise n.invalid(f"carried value {k} is {a} before a round and {b} after it; it has one dtype")
        same = a.rank == b.rank and all(known_equal(x, y) for x, y in zip(a.shape, b.shape, strict=True))
        if not same:
            raise n.unsupported(
                f"carried value {k} is {a} before a round and {b} after it; "
                f"where rounds are not unrolled, its shape must stay"
            )


def _check_given(n: ForeignNode, region: Region, given: Sequence[Value]) -> None:
    inside = set(_defined_in(region))
    for k, value in enumerate(given):
        if any(symbols_of(d) & inside for d in value.type.shape):
            raise n.unsupported(
                f"result {k} of a round is {value.type}, whose size depends on the round's data; results are stacked, "
                f"so their sizes must be known before the loop"
            )


def _defined_in(region: Region) -> Iterator[str]:
    """Symbols that nodes of the body write."""
    for node in region.graph.nodes:
        for name, attribute in node.op.attributes().items():
            if name in node.op.defines:
                dims = attribute if isinstance(attribute, tuple) else (attribute,)
                yield from (symbol for d in dims for symbol in symbols_of(d))
        for inner in regions_of(node.op):
            yield from _defined_in(inner)


def round_inputs(g: GraphBuilder) -> tuple[Value, Value]:
    """The first two inputs of every loop's body."""
    return g.input("round", dtypes.i64, ()), g.input("goes_on", dtypes.bool_, ())
