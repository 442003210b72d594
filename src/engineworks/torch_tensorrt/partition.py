"""Which nodes of a graph become engines, and which run in PyTorch between them.

Nodes are given *levels*: a node of an engine stands one level above the PyTorch nodes that it reads, everything else
on the level of what it reads. All engine nodes of one level are one engine, and run before the PyTorch nodes of that
level: there are no cycles by construction, and no more engines than alternations on the longest path.

Arithmetic on sizes belongs to no level: engines repeat what they need of it from the shapes of their inputs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from engineworks.torch_tensorrt.types import NAME_OF

Reasons = Mapping[fx.Node, str]
"""Why a node runs in PyTorch, by node."""

_SIZE_TARGETS = {
    torch.ops.aten.sym_size.int, torch.ops.aten.sym_numel.default, torch.ops.aten.sym_stride.int,
    torch.ops.aten.sym_storage_offset.default,
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod, operator.neg,
    operator.pow, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
    torch.sym_int, torch.sym_float, torch.sym_max, torch.sym_min, torch.sym_not, torch.sym_ite,
    math.ceil, math.floor, math.trunc,
}  # fmt: skip

EFFECTS = {
    torch.ops.aten._assert_scalar.default, torch.ops.aten._assert_tensor_metadata.default,
    torch.ops.aten._assert_async.msg, torch.ops.aten.sym_constrain_range.default,
    torch.ops.aten.sym_constrain_range_for_size.default,
}  # fmt: skip
"""Statements about values that have no result; engines check the sizes that they depend on."""


@dataclass(slots=True)
class Level:
    """What runs together: an engine's nodes, then nodes in PyTorch, both in the graph's order."""

    engine: list[fx.Node] = field(default_factory=list)
    eager: list[fx.Node] = field(default_factory=list)


def is_size(node: fx.Node) -> bool:
    """The node computes numbers from shapes alone."""
    return node.op == "call_function" and node.target in _SIZE_TARGETS


def counts(node: fx.Node) -> bool:
    """The node is an operation of the model: no constant, no arithmetic on sizes, no unpacking."""
    return node.op == "call_function" and not is_size(node) and node.target is not operator.getitem


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The tensors in a node's `meta['val']`."""
    items = value if isinstance(value, (tuple, list)) else (value,)
    return [v for v in items if isinstance(v, torch.Tensor)]


def reason_of(node: fx.Node, *, is_known: bool) -> str | None:
    """Why no engine can hold this node; None when one can as far as its types say.

    Args:
        is_known: there is a rule for its operator.
    """
    if not is_known:
        return "there is no rule for the operator"
    values = [v for n in (node, *node.all_input_nodes) for v in tensors_of(n.meta.get("val"))]
    strange = next((v.dtype for v in values if v.dtype not in NAME_OF), None)
    if strange is not None:
        return f"engines have no {strange}"
    if any(v.layout is not torch.strided for v in values):
        return "engines have no sparse tensors"
    if any(_is_from_data(n) for n in node.all_input_nodes):
        return "it reads a number that is computed from data"
    return None


def _is_from_data(node: fx.Node) -> bool:
    """The node gives a number that is no function of shapes."""
    if is_size(node):
        return any(_is_from_data(n) for n in node.all_input_nodes)
    value = node.meta.get("val")
    return isinstance(value, (int, float, bool, torch.SymInt, torch.SymFloat, torch.SymBool))


def levels(graph: fx.Graph, reasons: Reasons, repeated: Collection[fx.Node] = ()) -> list[Level]:
    """The levels of a functional graph in which the nodes of `reasons` run in PyTorch.

    Args:
        repeated: nodes that belong to no level: every engine that reads one holds it.
    """
    for_engine: dict[fx.Node, int] = {}
    for_eager: dict[fx.Node, int] = {}
    found: list[Level] = []
    for node in graph.nodes:
        above_engine = max((for_engine[n] for n in node.all_input_nodes), default=0)
        above_eager = max((for_eager[n] for n in node.all_input_nodes), default=0)
        if node.op != "call_function" or is_size(node) or node in repeated or node.target in EFFECTS:
            for_engine[node], for_eager[node] = above_engine, above_eager
            continue
        runs_eagerly = node in reasons or _unpacks(node, reasons)
        level = above_eager if runs_eagerly else above_engine
        while len(found) <= level:
            found.append(Level())
        (found[level].eager if runs_eagerly else found[level].engine).append(node)
        for_engine[node] = level + runs_eagerly
        for_eager[node] = level
    return found


def _unpacks(node: fx.Node, reasons: Reasons) -> bool:
    return node.target is operator.getitem and node.args[0] in reasons


def with_small_engines_in_pytorch(
    graph: fx.Graph, reasons: Reasons, least: int, repeated: Collection[fx.Node] = ()
) -> dict[fx.Node, str]:
    """`reasons`, with those for the nodes of engines of less than `least` operations.

    A graph that is one engine stays one, however small it is.
    """
    found = dict(reasons)
    while found:
        small = [
            (level.engine, size)
            for level in levels(graph, found, repeated)
            if len(level.engine) > 0 and (size := sum(map(counts, level.engine))) < least
        ]
        if not small:
            return found
        for nodes, size in small:
            why = f"an engine of {size} operation{'s' * (size != 1)} is below min_block_size={least}"
            found |= {n: why for n in nodes if n.target is not operator.getitem}
    return found


def returned(graph: fx.Graph) -> tuple[Any, ...]:
    """What a graph returns: nodes, and constants."""
    values: Any = graph.output_node().args[0]
    return tuple(values)


def needed_outside(graph: fx.Graph, all_levels: list[Level]) -> set[fx.Node]:
    """Nodes whose values the graph's output or nodes in PyTorch read, through arithmetic on sizes too."""
    readers = [n for level in all_levels for n in level.eager]
    readers += [n for n in graph.nodes if n.op == "output"]
    needed: set[fx.Node] = set()
    waiting = list(_inputs_of(readers))
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            if is_size(node):
                waiting.extend(node.all_input_nodes)
    return needed


def _inputs_of(nodes: list[fx.Node]) -> Iterator[fx.Node]:
    for node in nodes:
        yield from node.all_input_nodes
