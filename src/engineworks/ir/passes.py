"""Passes: whole-graph steps with names, run in a stated order, each a legal place to stop and dump."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from engineworks.ir.graph import Graph
from engineworks.ir.rewriter import Rewriter


class Pass(Protocol):
    """A frozen dataclass whose fields are its options."""

    name: ClassVar[str]

    def run(self, rewriter: Rewriter) -> None: ...


@dataclass(frozen=True, slots=True)
class PassTiming:
    """What a pass took, and how many nodes it left."""

    name: str
    duration_s: float
    nodes: int


def run_passes(
    rewriter: Rewriter, passes: Sequence[Pass], *, check: Callable[[Graph], None] | None = None
) -> list[PassTiming]:
    """Run passes in order; `check` (the verifier) after each when given."""
    timings = []
    for each in passes:
        start = time.perf_counter()
        each.run(rewriter)
        rewriter.tidy()
        if check:
            check(rewriter.graph)
        timings.append(PassTiming(each.name, time.perf_counter() - start, len(rewriter.graph.nodes)))
    return timings
