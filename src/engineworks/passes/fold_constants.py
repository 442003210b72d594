"""Evaluate at build what does not depend on the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engineworks.ir.graph import Node, Value, regions_of
from engineworks.ir.interpret import run_node
from engineworks.ir.rewriter import Rewriter


@dataclass(frozen=True, slots=True)
class FoldConstants:
    """Replace nodes whose inputs are all constant by their value, and shape arithmetic by its dims.

    Args:
        max_bytes: a result may be this large, or as large as its inputs, whichever is more; beyond, the node stays
            (expanding a scalar to a large tensor belongs into the kernel that reads it).
        kept: ops that are left alone, for rules that look for them.
    """

    max_bytes: int = 4 << 20
    kept: frozenset[str] = frozenset()
    name: ClassVar[str] = "fold constants"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            if len(node.outputs) == 1 and node.output.known is not None and _all_known(rewriter, node):
                continue
            if self._is_foldable(node):
                values = run_node(node, [None if v is None else v.array for v in node.inputs], {})
                self._replace(rewriter, node, values)

    def _is_foldable(self, node: Node) -> bool:
        if node.op.is_random or regions_of(node.op) or node.op.name in self.kept:
            return False
        if any(v is not None and not v.is_constant for v in node.inputs):
            return False
        if not all(v.type.is_static for v in node.outputs) or not _is_static(node):
            return False
        held = sum(v.array.nbytes for v in node.inputs if v is not None)
        made = sum(int(v.type.size_bytes) for v in node.outputs)  # type: ignore[call-overload]
        return made <= max(self.max_bytes, held)

    def _replace(self, rewriter: Rewriter, node: Node, values: tuple[np.ndarray, ...]) -> None:
        with rewriter.building(node) as g:
            new = [
                g.constant(array, v.type.dtype, v.name) for v, array in zip(node.outputs, values, strict=True)
            ]
        rewriter.replace(self.name, node.outputs, new, [node])


def _is_static(node: Node) -> bool:
    """No symbolic dims among the op's attributes."""
    from engineworks.core.dims import Sym

    def symbolic(attribute: object) -> bool:
        return isinstance(attribute, Sym) or (
            isinstance(attribute, tuple) and any(symbolic(a) for a in attribute)
        )

    return not any(symbolic(a) for a in node.op.attributes().values())


def _all_known(rewriter: Rewriter, node: Node) -> bool:
    """Shape arithmetic ends in `from_dims` or a constant, so that what it was computed from can go."""
    value: Value = node.output
    assert value.known is not None
    if node.op.name == "from_dims":
        return True
    if not (value.uses or rewriter.graph.is_output(value)):
        return True
    with rewriter.building(node) as g:
        new = g.dims(value.known, value.type.dtype)
    new.known = value.known
    rewriter.replace("shape arithmetic is known", [value], [new], [node])
    return True
