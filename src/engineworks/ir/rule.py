"""Rules: a pattern, a check that says why not, and what to build. RuleSets apply them to a fixpoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from engineworks.errors import Error
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.pattern import Match, Shape, match, pattern_of
from engineworks.ir.rewriter import Rewriter

MAX_ROUNDS = 50


class NoMatch(Exception):
    """Raised by `check`: the pattern is there but the rule does not apply, and this is why."""


class Rule:
    """One rewrite. Subclasses define `pattern(self, p, ...)`, `check(self, m)` and `build(self, g, m)`.

    Class attributes:
        name: shown in the journal and by explain.
        shares: inner values of the pattern may have readers outside of it (they stay for those).
        patterns: further spellings, as methods like `pattern`.
    """

    name: ClassVar[str] = ""
    shares: ClassVar[bool] = False

    def patterns(self) -> Sequence[Callable[..., Shape]]:
        """All spellings of what the rule looks for; `pattern` alone unless overridden."""
        return (self.pattern,)  # type: ignore[attr-defined]

    def check(self, m: Match) -> None:
        """Raise NoMatch(why) when the rule does not apply."""

    def build(self, g: GraphBuilder, m: Match) -> Value:
        raise NotImplementedError


R = TypeVar("R", bound=type[Rule])
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[R], R]:
    """Register a rule under its name."""

    def register(cls: R) -> R:
        cls.name = name
        if name in RULES:
            raise Error(f"two rules are called '{name}'")
        RULES[name] = cls()
        return cls

    return register


class RuleSet:
    """Applies rules until none fires.

    Raises:
        Error: they still fire after MAX_ROUNDS sweeps; the message names the cycling rules.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_root: dict[str, list[tuple[Rule, Shape]]] = defaultdict(list)
        for each in rules:
            for spelling in each.patterns():
                shape = pattern_of(spelling)
                self._by_root[shape.op].append((each, shape))

    def apply(self, rewriter: Rewriter) -> None:
        fired: set[str] = set()
        for _ in range(MAX_ROUNDS):
            fired = set()
            for node in list(rewriter.graph.nodes):
                if rewriter.exhausted:
                    return
                name = self._apply_at(rewriter, node)
                if name:
                    fired.add(name)
            rewriter.tidy()
            if not fired:
                return
        raise Error(f"rules cycle without end: {', '.join(sorted(fired))}")

    def _apply_at(self, rewriter: Rewriter, node: Node) -> str:
        if not any(v.uses or rewriter.graph.is_output(v) for v in node.outputs):
            return ""
        for each, shape in self._by_root.get(node.op.name, ()):
            found = match(shape, node)
            if found is None:
                continue
            try:
                if not each.shares:
                    _inner_values_have_one_reader(rewriter, found)
                each.check(found)
            except NoMatch as reason:
                rewriter.miss(each.name, found.nodes, str(reason))
                continue
            with rewriter.building(*reversed(found.nodes)) as g:
                new = each.build(g, found)
            if new.type.shape != node.output.type.shape:
                raise Error(
                    f"rule '{each.name}' changed {node.output.type} into {new.type} at {'/'.join(node.origin)}"
                )
            rewriter.replace(each.name, [node.output], [new], list(reversed(found.nodes)))
            return each.name
        return ""


def _inner_values_have_one_reader(rewriter: Rewriter, found: Match) -> None:
    inside = {id(n) for n in found.nodes}
    for node in found.nodes[1:]:
        for value in node.outputs:
            outside = [u for u, _ in value.uses if id(u) not in inside]
            if outside or rewriter.graph.is_output(value):
                raise NoMatch(f"'{value.name or '/'.join(node.origin)}' is also read elsewhere")


def constant_scalar(value: Any) -> float | None:
    """The number when `value` is a constant of one element, else None."""
    if isinstance(value, Value) and value.constant is not None and value.array.size == 1:
        return float(value.array.ravel()[0])
    return None
