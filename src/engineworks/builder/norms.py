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
        return sum(map(self._seconds, folded)) < sum(map(self._seconds, plain)) + NORM_S

    def _seconds(self, work: Workload) -> float:
        """Of the best kernel; infinite where none is right."""
        key = work.key()
        if key not in self._known:
            assert self.tuner is not None, "asked above"
            candidates = self.backend.propose(work, self.isa, self.effort)[0][:TRIED]
            self.tuner.prepare([(work, candidates)], lambda done, total: None)
            found = self.tuner.measure(work, candidates) if candidates else {}
            self._known[key] = min((t for t in found.values() if isinstance(t, float)), default=float("inf"))
        return self._known[key]
