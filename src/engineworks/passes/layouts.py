"""Choose how each tensor lies in memory: channels-last around convolutions, free transposes, conversions at the edges.

Values keep their logical axes; only the order in memory changes (docs/decisions/0003-layouts.md). A transpose whose
output lies as its input does is no work at all. Conversions are `relayout` nodes, which fuse like any pointwise op.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engineworks.core.types import Layout, TensorType, row_major
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._kinds import Reduction
from engineworks.passes.decompose import is_fusible

CHANNELS_LAST_OPS = frozenset({"conv", "conv_transpose", "max_pool", "average_pool", "lp_pool"})
"""Native ops whose first input and output lie channels-last."""
STRIDED_OPS = frozenset({"matmul", "attention"})
"""Native ops that read their inputs through strides, as long as one of the last two axes is innermost."""


@dataclass(frozen=True, slots=True)
class AssignLayouts:
    """Set `value.type.layout` on every value, inserting `relayout` where a reader needs another one."""

    name: ClassVar[str] = "layouts"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            self._place(rewriter, node)
        for position, value in enumerate(rewriter.graph.outputs):
            if not lies(value.type, row_major(value.type.rank)):
                converted = _converted(rewriter, value, row_major(value.type.rank), value.producer)
                rewriter.graph.outputs[position] = converted

    def _place(self, rewriter: Rewriter, node: Node) -> None:
        if node.op.name in CHANNELS_LAST_OPS and node.output.type.rank >= 3:
            wanted = channels_last(node.output.type.rank)
            _require(rewriter, node, 0, wanted)
            for position in range(1, len(node.inputs)):
                _require_row_major(rewriter, node, position)
            _set(node.outputs[0], wanted)
        elif node.op.name in STRIDED_OPS:
            for position, value in enumerate(node.inputs):
                if value is not None and not _inner_pair_is_innermost(value.type):
                    _require_row_major(rewriter, node, position)
        elif node.op.name == "transpose":
            _set(node.output, transposed(node.inputs[0].type, node.op.perm))  # type: ignore[union-attr, attr-defined]
        elif isinstance(node.op, Reduction):
            _set(node.output, _reduced(node))
        elif is_fusible(node):
            _set(node.output, _followed(node))
        else:
            for position in range(len(node.inputs)):
                _require_row_major(rewriter, node, position)


def channels_last(rank: int) -> Layout:
    """Batch, spatial axes, channels."""
    return Layout((0, *range(2, rank), 1))


def lies(tensor: TensorType, layout: Layout) -> bool:
    """True when `tensor` already lies as `layout` says; axes of size one may stand anywhere."""
    own = tensor.layout or row_major(tensor.rank)
    if own.row_pad != layout.row_pad:
        return False
    mine = [a for a in own.order if tensor.shape[a] != 1]
    theirs = [a for a in layout.order if tensor.shape[a] != 1]
    return mine == theirs


def transposed(source: TensorType, perm: tuple[int, ...]) -> Layout:
    """The layout under which the transposed tensor is the same memory."""
    own = source.layout or row_major(source.rank)
    place = {in_axis: out_axis for out_axis, in_axis in enumerate(perm)}
    return Layout(tuple(place[a] for a in own.order), own.row_pad)


def _set(value: Value, layout: Layout) -> None:
    simplest = row_major(value.type.rank)
    chosen = value.type.with_layout(layout)
    value.type = value.type.with_layout(None) if lies(chosen, simplest) else chosen


def _reduced(node: Node) -> Layout:
    """Axes that remain keep their order."""
    source = node.inputs[0]
    assert source is not None and isinstance(node.op, Reduction)
    own = source.type.layout or row_major(source.type.rank)
    if node.op.keepdims:
        return Layout(own.order)
    gone = node.op.normal_axes(source.type.rank)
    kept = [a for a in range(source.type.rank) if a not in gone]
    return Layout(tuple(kept.index(a) for a in own.order if a in kept))


def _followed(node: Node) -> Layout:
    """As the input that has the output's rank and is no constant; the largest one decides."""
    out = node.output.type
    candidates = [
        v.type for v in node.inputs
        if v is not None and v.type.rank == out.rank and not v.is_constant and v.type.layout is not None
    ]  # fmt: skip
    same = [t for t in candidates if t.shape == out.shape] or (candidates if node.op.name != "reshape" else [])
    if not same or node.op.name == "relayout":
        return node.output.type.layout or row_major(out.rank)
    return Layout(same[0].layout.order)  # type: ignore[union-attr]


def _inner_pair_is_innermost(tensor: TensorType) -> bool:
    layout = tensor.layout
    return layout is None or layout.order[-1] >= tensor.rank - 2


def _require_row_major(rewriter: Rewriter, node: Node, position: int) -> None:
    value = node.inputs[position]
    if value is not None:
        _require(rewriter, node, position, row_major(value.type.rank))


def _require(rewriter: Rewriter, node: Node, position: int, layout: Layout) -> None:
    value = node.inputs[position]
    if value is None or lies(value.type, layout) or value.is_constant:
        return
    node.set_input(position, _converted(rewriter, value, layout, node))


def _converted(rewriter: Rewriter, value: Value, layout: Layout, beside: Node | None) -> Value:
    """An earlier conversion of the same value, or a new one."""
    for user, _ in value.uses:
        if user.op.name == "relayout" and lies(user.output.type, layout):
            return user.output
    nodes = [n for n in (value.producer, beside) if n is not None][:1]
    with rewriter.building(*nodes) as g:
        return g.relayout(value, order=layout.order, row_pad=layout.row_pad)
