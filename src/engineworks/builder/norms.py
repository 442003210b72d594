"""Whether layer norms should join the products behind them: measured, since it depends on the product's tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engineworks.builder.workloads import workload_of_node
from engineworks.ir.graph import Node, Value
from engineworks.ir.op import Op
from engineworks.kernels.backend import Backend
from engineworks.kernels.workload import Operand, Workload
from engineworks.tuner.choose import Tuner

NORM_S = 1.5e-6
"""Of a norm's own kernel at few rows, its launch included (H200, docs/developers/gpu-performance.md)."""
TRIED = 6
"""Kernels that are measured of each product, with the norm and without."""


@dataclass(slots=True)
class NormChooser:
    """Compares products with and without the norm in front of them.

    Args:
        tuner: None never joins them: the predictions of both are too close to tell.
    """

    backend: Backend
    isa: Any
    tuner: Tuner | None
    effort: int
    _known: dict[str, float] = field(default_factory=dict)

    def pays(self, x: Value, products: Sequence[tuple[Node, Op]]) -> bool:
        """True when the products (each with the op that would take its place, on `x`) gain more than they lose."""
        if self.tuner is None:
            return False
        plain = [workload_of_node(node) for node, _ in products]
        folded = [
            replace(work, anchor=op, inputs=(Operand(x.type), *work.inputs[1:]))
            for work, (_, op) in zip(plain, products, strict=True)
        ]
        self._measure([*plain, *folded], self.tuner)
        return self._seconds(folded) < self._seconds(plain) + NORM_S

    def _measure(self, works: Sequence[Workload], tuner: Tuner) -> None:
        """Learn the best time of each problem; all candidates are compiled before the first is timed."""
        unknown = {work.key(): work for work in works if work.key() not in self._known}
        problems = [
            (work, self.backend.propose(work, self.isa, self.effort)[0][:TRIED]) for work in unknown.values()
        ]
        tuner.prepare(problems, lambda done, total: None)
        for work, candidates in problems:
            found = tuner.measure(work, candidates) if candidates else {}
            right = [t for t in found.values() if isinstance(t, float)]
            self._known[work.key()] = min(right, default=float("inf"))

    def _seconds(self, works: Sequence[Workload]) -> float:
        """Of the best kernels together; infinite where there is no right one."""
        return sum(self._known[work.key()] for work in works)
