"""Choose how each tensor lies in memory: channels-last around convolutions, free transposes, conversions at the edges.

Values keep their logical axes; only the order in memory changes (docs/decisions/0003-layouts.md). A transpose whose
output lies as its input does is no work at all. Conversions are `relayout` nodes, which fuse like any pointwise op.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from engineworks.core.dims import Dim
from engineworks.core.types import Layout, Shape, TensorType, row_major
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._kinds import Reduction
from engineworks.passes.decompose import is_fusible

CHANNELS_LAST_OPS = frozenset({"conv", "conv_transpose", "max_pool", "average_pool", "lp_pool"})
"""Native ops whose first input and output lie channels-last."""
MOST_PLANES = 4
"""Channels of an image that convolutions read as planes."""
STRIDED_OPS = frozenset({"matmul", "attention"})
"""Native ops that read their inputs through strides, as long as one of the last two axes is innermost."""
ROW_OPS = STRIDED_OPS | {"normalised_matmul"}
"""Native ops that would rather have rows."""
ANY_ORDER_OPS = frozenset({"histogram"})
"""Native ops whose meaning does not depend on the order of elements."""


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
            _place_channels_last(rewriter, node)
        elif node.op.name in STRIDED_OPS:
            _place_strided(rewriter, node)
        elif node.op.name == "reshape":
            _set(
                node.output,
                # pyrefly: ignore[missing-attribute]
                regrouped(node.inputs[0].type, node.output.type) or row_major(node.output.type.rank),
            )  # type: ignore[union-attr]
        elif node.op.name == "transpose":
            _set(node.output, transposed(node.inputs[0].type, node.op.perm))  # type: ignore[union-attr, attr-defined]
        elif isinstance(node.op, Reduction):
            _set(node.output, _reduced(node))
        elif is_fusible(node):
            _set(node.output, _followed(node))
        elif not (node.op.name in ANY_ORDER_OPS and _has_no_padding(node)):
            for position in range(len(node.inputs)):
                _require_row_major(rewriter, node, position)


def _has_no_padding(node: Node) -> bool:
    return not any(v is not None and v.type.layout is not None and v.type.layout.row_pad for v in node.inputs)


def _place_channels_last(rewriter: Rewriter, node: Node) -> None:
    wanted = channels_last(node.output.type.rank)
    if not _reads_planes(node):
        _require(rewriter, node, 0, wanted)
    for position in range(1, len(node.inputs)):
        _require_row_major(rewriter, node, position)
    _set(node.outputs[0], wanted)


def _reads_planes(node: Node) -> bool:
    """A convolution of a few planes of narrow elements (an image, quantised): its kernel copies them anyway."""
    x = node.inputs[0]
    assert x is not None
    channels = x.type.shape[1]
    few = isinstance(channels, int) and 1 < channels <= MOST_PLANES
    return node.op.name == "conv" and few and x.type.dtype.bits < 32 and lies(x.type, row_major(x.type.rank))


def _place_strided(rewriter: Rewriter, node: Node) -> None:
    for position, value in enumerate(node.inputs):
        if value is not None and not _inner_pair_is_innermost(value.type):
            _require_row_major(rewriter, node, position)
    if node.op.name == "attention":
        _set(node.output, _as_its_transpose_wants(node.output))


def channels_last(rank: int) -> Layout:
    """Batch, spatial axes, channels."""
    return Layout((0, *range(2, rank), 1))


def lies(tensor: TensorType, layout: Layout) -> bool:
    """True when `tensor` already lies as `layout` says; axes of size one may stand anywhere."""
    own = tensor.layout or row_major(tensor.rank)
    if own.row_pad != layout.row_pad or own.strides != layout.strides:
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


def regrouped(source: TensorType, out: TensorType) -> Layout | None:
    """The layout under which a reshape is the same memory, or None when its axes are torn apart.

    [N, C, H, W] lying N H W C becomes [N, C, H*W] lying N HW C: each run of axes that is merged or split must be
    neighbours in memory, in the same order.
    """
    own = source.layout or row_major(source.rank)
    if own.row_pad:
        return None
    place = {axis: position for position, axis in enumerate(own.order)}
    starts: list[tuple[int, list[int]]] = []
    for ours, theirs in runs_of(source.shape, out.shape):
        real = [a for a in ours if source.shape[a] != 1]
        positions = [place[a] for a in real]
        if positions != sorted(positions) or any(
            b - a != 1 for a, b in _neighbours(positions, own.order, source)
        ):
            return None
        starts.append((positions[0] if positions else -1, theirs))
    unit = [axis for start, theirs in starts if start < 0 for axis in theirs]
    return Layout(
        tuple(unit + [axis for start, theirs in sorted(s for s in starts if s[0] >= 0) for axis in theirs])
    )


def _neighbours(positions: list[int], order: tuple[int, ...], source: TensorType) -> list[tuple[int, int]]:
    """Pairs of following positions, axes of size one between them not counted."""
    solid = [p for p, axis in enumerate(order) if source.shape[axis] != 1]
    rank = {p: k for k, p in enumerate(solid)}
    return [(rank[a], rank[b]) for a, b in itertools.pairwise(positions)]


def runs_of(source: Shape, out: Shape) -> list[tuple[list[int], list[int]]]:
    """Shortest runs of axes of both shapes with equal products; one run of all axes where products stay unequal."""
    runs: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(source) or j < len(out):
        if i < len(source) and j < len(out) and source[i] == out[j]:
            runs.append(([i], [j]))
            i, j = i + 1, j + 1
            continue
        ours, theirs = [], []
        a: Dim = 1
        b: Dim = 1
        while True:
            if i < len(source) and (not ours or (a != b and (j >= len(out) or not _is_larger(a, b)))):
                a, i = a * source[i], i + 1
                ours.append(i - 1)
            elif j < len(out) and (not theirs or a != b):
                b, j = b * out[j], j + 1
                theirs.append(j - 1)
            elif a == b or (i >= len(source) and j >= len(out)):
                break
        if a != b:
            return [(list(range(len(source))), list(range(len(out))))]
        runs.append((ours, theirs))
    return runs


def _is_larger(a: Dim, b: Dim) -> bool:
    """a > b where both are numbers; symbolic products are taken as smaller, so that they go on growing together."""
    return isinstance(a, int) and isinstance(b, int) and a > b


def _as_its_transpose_wants(value: Value) -> Layout:
    """Row-major for the transpose that alone reads the value, so that the transpose is a view of memory in order."""
    users = {id(u): u for u, _ in value.uses}
    reader = next(iter(users.values())) if len(users) == 1 else None
    if reader is None or reader.op.name != "transpose" or reader.op.perm[-1] != value.type.rank - 1:  # type: ignore[attr-defined]
        return row_major(value.type.rank)
    return Layout(tuple(reader.op.perm))  # type: ignore[attr-defined]


def _is_wanted_in_rows(value: Value, depth: int = 6) -> bool:
    """Readers, through pointwise ops and views, take rows (products, last-axis folds) and none takes channels."""
    wishes: set[str] = set()
    seen: set[int] = set()
    frontier = [value]
    for _ in range(depth):
        found: list[Value] = []
        for user in (u for v in frontier for u, _ in v.uses if id(u) not in seen):
            seen.add(id(user))
            if user.op.name in CHANNELS_LAST_OPS:
                wishes.add("channels")
            elif user.op.name in ROW_OPS or isinstance(user.op, Reduction):
                wishes.add("rows" if user.op.name in ROW_OPS or _folds_last(user) else "")
            elif user.op.name not in ("transpose", "reshape") and is_fusible(user):
                found.append(user.output)
        frontier = found
    return "rows" in wishes and "channels" not in wishes


def _folds_last(node: Node) -> bool:
    source = node.inputs[0]
    assert source is not None and isinstance(node.op, Reduction)
    return node.op.normal_axes(source.type.rank) == (source.type.rank - 1,)


def _followed(node: Node) -> Layout:
    """As the input that has the output's rank and is no constant; the largest one decides."""
    out = node.output.type
    candidates = [
        v.type for v in node.inputs
        if v is not None and v.type.rank == out.rank and not v.is_constant and v.type.layout is not None
    ]  # fmt: skip
    same = [t for t in candidates if t.shape == out.shape] or candidates
    if not same or node.op.name == "relayout" or _is_wanted_in_rows(node.output):
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
