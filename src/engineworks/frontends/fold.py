"""Constants computed while a model is imported, so that chains of shape arithmetic never become nodes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engineworks.core.dims import Sym
from engineworks.ir.builder import MAX_KNOWN_ELEMENTS
from engineworks.ir.graph import Constant, Graph, Node, Value, regions_of
from engineworks.ir.interpret import run_node
from engineworks.ir.op import Op

MAX_FOLDED_BYTES = 1 << 20
"""Outputs of a node that are larger stay computed: `expand` of one number must not become a file of numbers."""

NEVER_FOLDED = frozenset({"quantize_linear", "dequantize_linear"})
"""They tell in which precision to compute; folding the pair around a weight would lose it."""


def fold_new_nodes(graph: Graph, start: int) -> None:
    """Replace nodes from `start` on whose outputs are decided by constants, as long as the outputs are small."""
    kept: list[Node] = []
    for node in graph.nodes[start:]:
        if not _fold(node):
            kept.append(node)
    graph.nodes[start:] = kept


def _fold(node: Node) -> bool:
    arrays = _known_output(node) or _computed(node)
    if arrays is None:
        return False
    for value, array in zip(node.outputs, arrays, strict=True):
        _make_constant(value, array)
    node.detach()
    return True


def _known_output(node: Node) -> tuple[np.ndarray, ...] | None:
    """The output of shape arithmetic that turned out to be plain integers."""
    known = node.outputs[0].known
    if len(node.outputs) != 1 or known is None or not all(_is_plain(d) for d in known.ravel()):
        return None
    return (known.astype(node.outputs[0].type.dtype.numpy),)


def _is_plain(d: object) -> bool:
    return isinstance(d, (int, np.integer, bool, np.bool_))


def _computed(node: Node) -> tuple[np.ndarray, ...] | None:
    """All outputs by the op's reference, when all inputs are constants and the outputs are small."""
    if node.op.name in NEVER_FOLDED or node.op.is_random or regions_of(node.op) or _has_symbols(node.op):
        return None
    if any(v is not None and not v.is_constant for v in node.inputs):
        return None
    if not all(v.type.is_static for v in node.outputs):
        return None
    if sum(int(v.type.size_bytes) for v in node.outputs) > MAX_FOLDED_BYTES:  # type: ignore[arg-type]
        return None
    arrays = [None if v is None else v.array for v in node.inputs]
    no_dims: Mapping[str, int] = {}
    results = run_node(node, arrays, no_dims)
    fits = all(r.shape == v.type.shape for r, v in zip(results, node.outputs, strict=True))
    return results if fits else None


def _has_symbols(op: Op) -> bool:
    return any(_symbolic(a) for a in op.attributes().values())


def _symbolic(attribute: object) -> bool:
    return isinstance(attribute, Sym) or (
        isinstance(attribute, tuple) and any(_symbolic(a) for a in attribute)
    )


def _make_constant(value: Value, array: np.ndarray) -> None:
    value.constant = Constant(array)
    value.producer = None
    if value.type.dtype.kind in ("int", "uint", "bool") and array.size <= MAX_KNOWN_ELEMENTS:
        value.known = array.astype(object)
