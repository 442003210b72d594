"""Compute equal things once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engineworks.ir.graph import Value, regions_of
from engineworks.ir.rewriter import Rewriter


@dataclass(frozen=True, slots=True)
class CommonValues:
    """Two nodes with equal ops on the same inputs become one; constants of equal bytes count as the same input."""

    name: ClassVar[str] = "share common values"

    def run(self, rewriter: Rewriter) -> None:
        seen: dict[tuple[object, ...], list[Value]] = {}
        for node in list(rewriter.graph.nodes):
            if node.op.is_random or regions_of(node.op):
                continue
            key = (node.op, *[_identity(v) for v in node.inputs])
            known = seen.get(key)
            if known is None:
                seen[key] = node.outputs
            elif not any(rewriter.graph.is_output(v) for v in node.outputs):
                rewriter.replace(self.name, node.outputs, known, [node])


def _identity(value: Value | None) -> object:
    if value is None:
        return None
    return ("constant", value.constant.hash) if value.constant is not None else id(value)
