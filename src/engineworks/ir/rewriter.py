"""Rewriter: the only way to change a graph. It replaces, retypes at once, and keeps a numbered journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Node, Value


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One applied rewrite: number, what did it, and the source names it touched."""

    number: int
    rule: str
    origins: tuple[str, ...]

    def __str__(self) -> str:
        return f"#{self.number} {self.rule}: {', '.join(self.origins)}"


@dataclass(frozen=True, slots=True)
class Missed:
    """A rewrite that nearly applied, and why it did not."""

    rule: str
    origins: tuple[str, ...]
    why: str


class Rewriter:
    """Changes one graph.

    Args:
        graph: changed in place.
        limit: stop applying after this many rewrites (bisection); None for all.
    """

    def __init__(self, graph: Graph, *, limit: int | None = None) -> None:
        self.graph = graph
        self.limit = limit
        self.journal: list[JournalEntry] = []
        self.missed: list[Missed] = []
        self.builder = GraphBuilder(graph)

    @property
    def exhausted(self) -> bool:
        """True when the limit is reached."""
        return self.limit is not None and len(self.journal) >= self.limit

    @contextmanager
    def building(self, *nodes: Node) -> Iterator[GraphBuilder]:
        """A builder whose nodes come from the origins of `nodes`; they are placed in order by `tidy`."""
        with self.builder.into(self.graph.nodes), self.builder.origin(*origins_of(nodes)):
            yield self.builder

    def replace(self, rule: str, old: Sequence[Value], new: Sequence[Value], nodes: Sequence[Node]) -> None:
        """Readers of each old value read the new one instead; journal it under `rule` for `nodes`."""
        for before, after in zip(old, new, strict=True):
            self.redirect(before, after)
        self.note(rule, nodes)

    def redirect(self, before: Value, after: Value) -> None:
        """All readers of `before`, graph outputs too, read `after`. The user's name moves with it."""
        assert before.type.dtype is after.type.dtype, f"a rewrite changed {before.type} into {after.type}"
        for node, position in list(before.uses):
            node.set_input(position, after)
        self.graph.outputs = [after if v is before else v for v in self.graph.outputs]
        if before.name and not after.name and after.producer is not None:
            after.name = before.name

    def note(self, rule: str, nodes: Sequence[Node]) -> None:
        self.journal.append(JournalEntry(len(self.journal) + 1, rule, origins_of(nodes)))

    def miss(self, rule: str, nodes: Sequence[Node], why: str) -> None:
        self.missed.append(Missed(rule, origins_of(nodes), why))

    def tidy(self) -> None:
        """Drop what nobody reads and put definitions before uses."""
        self.graph.sort()
        self.graph.remove_dead()


def origins_of(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Source names of several nodes, each once, in order."""
    return tuple(dict.fromkeys(name for node in nodes for name in node.origin))
