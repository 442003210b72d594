"""Products of one tensor with several constants become one: queries, keys and values of an attention.

Worth a pass where a product's cost at few rows is its launch, and where the readers follow slices in place (GPUs; on
CPUs it gains nothing: docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter

VIEWS = frozenset({"transpose", "reshape", "squeeze", "unsqueeze", "slice"})


@dataclass(frozen=True, slots=True)
class _Branch:
    """One product with its bias, if any: `last` is the value that readers see."""

    product: Node
    weights: np.ndarray
    bias: np.ndarray | None
    last: Value
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MergeProducts:
    """Merge what is read through views by ops that read parts in place, and by nothing else.

    Args:
        part_readers: names of these ops.
    """

    part_readers: frozenset[str]
    name: ClassVar[str] = "merge products"

    def run(self, rewriter: Rewriter) -> None:
        by_source: dict[tuple[int, object], list[_Branch]] = {}
        for node in rewriter.graph.nodes:
            branch = self._branch(rewriter, node) if node.op.name == "matmul" else None
            if branch is not None:
                key = (id(node.inputs[0]), (node.op, branch.weights.shape[0], branch.weights.dtype))
                by_source.setdefault(key, []).append(branch)
        for branches in by_source.values():
            if len(branches) > 1:
                _merge(rewriter, branches)

    def _branch(self, rewriter: Rewriter, node: Node) -> _Branch | None:
        weights = node.inputs[1]
        if weights is None or weights.constant is None or weights.type.rank != 2:
            return None
        bias, last, nodes = _bias_of(node)
        if rewriter.graph.is_output(node.output) or rewriter.graph.is_output(last):
            return None
        if not self._is_read_in_parts(rewriter, last):
            return None
        return _Branch(node, weights.constant.array, bias, last, nodes)

    def _is_read_in_parts(self, rewriter: Rewriter, value: Value) -> bool:
        """Every reader, through views, is one of `part_readers`."""
        if not value.uses or rewriter.graph.is_output(value):
            return False
        return all(
            user.op.name in self.part_readers
            or (user.op.name in VIEWS and self._is_read_in_parts(rewriter, user.output))
            for user, _ in value.uses
        )


def _bias_of(node: Node) -> tuple[np.ndarray | None, Value, tuple[Node, ...]]:
    """The constant vector that is added to a product, the sum, and the nodes of both."""
    if len(node.output.uses) == 1:
        user, position = node.output.uses[0]
        other = user.inputs[1 - position] if user.op.name == "add" else None
        width = node.output.type.shape[-1]
        is_vector = other is not None and other.constant is not None and other.type.count == width
        if (
            other is not None
            and other.constant is not None
            and is_vector
            and other.type.shape[-1:] == (width,)
        ):
            return other.constant.array.reshape(-1), user.output, (node, user)
    return None, node.output, (node,)


def _merge(rewriter: Rewriter, branches: Sequence[_Branch]) -> None:
    first = branches[0]
    weights = np.concatenate([b.weights for b in branches], axis=1)
    with rewriter.building(*(n for b in branches for n in b.nodes)) as g:
        dtype = first.product.inputs[1].type.dtype  # type: ignore[union-attr]
        merged = g.add_node(first.product.op, [first.product.inputs[0], g.constant(weights, dtype)])[0]
        if any(b.bias is not None for b in branches):
            bias = [
                np.zeros(b.weights.shape[1], b.weights.dtype) if b.bias is None else b.bias for b in branches
            ]
            merged = g.add(merged, g.constant(np.concatenate(bias), first.last.type.dtype))
        parts, start = [], 0
        for branch in branches:
            end = start + branch.weights.shape[1]
            parts.append(g.slice(merged, starts=(start,), ends=(end,), axes=(merged.type.rank - 1,)))
            start = end
    old = [b.last for b in branches]
    rewriter.replace("merge products", old, parts, [n for b in branches for n in b.nodes])
