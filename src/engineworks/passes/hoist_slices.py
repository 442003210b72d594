"""Rows that nobody reads are not computed: a slice moves in front of the products, norms and attention behind it.

A classifier reads one token of a transformer's last layer: its projections and its wide products have one row then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from engineworks.core.dims import known_equal
from engineworks.ir.graph import Node, Value
from engineworks.ir.op import Op
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._kinds import Pointwise
from engineworks.ops.slice import Slice

MOST_STEPS = 24
"""Nodes between a slice and the work that it makes smaller."""
WHY = "slice in front"


@dataclass(frozen=True, slots=True)
class HoistSlices:
    """Move slices in front of what makes their source, where that ends in less of a product, a norm or attention.

    Pointwise work and views are passed only on the way to these: behind other kernels they are free.
    """

    name: ClassVar[str] = "hoist slices"

    def run(self, rewriter: Rewriter) -> None:
        pending = [n for n in rewriter.graph.nodes if isinstance(n.op, Slice)]
        while pending:
            node = pending.pop()
            if not node.output.uses and not rewriter.graph.is_output(node.output):
                continue
            made = _hoisted(rewriter, node)
            if made:
                # What was replaced no longer counts as a reader of the values in front.
                rewriter.tidy()
                pending += made


def _hoisted(rewriter: Rewriter, node: Node) -> list[Node]:
    """The slices in front of what made the source of `node`; none where it stays."""
    source, op = node.inputs[0], node.op
    assert source is not None and isinstance(op, Slice), "slice takes one input"
    maker = source.producer
    if maker is None or rewriter.graph.is_output(source) or any(u.op != op for u, _ in source.uses):
        return []
    if not _shrinks(source, op, MOST_STEPS):
        return []
    with rewriter.building(node, maker) as g:
        fronts = _fronts(maker, op)
        assert fronts is not None, "what shrinks has slices in front"
        inputs = [
            v if v is None or front is None else g.add_node(front, [v])[0]
            for v, front in zip(maker.inputs, fronts, strict=True)
        ]
        new = g.add_node(_remade(maker, inputs), inputs)[0]
    old = [user.output for user, _ in source.uses]
    rewriter.replace(WHY, old, [new] * len(old), [node, maker])
    return [
        v.producer for v, front in zip(inputs, fronts, strict=True)
        if v is not None and front is not None and v.producer is not None
    ]  # fmt: skip


def _remade(maker: Node, inputs: list[Value | None]) -> Op:
    """The op of `maker` on sliced inputs."""
    if maker.op.name != "reshape" or inputs[0] is None:
        return maker.op
    kept = len(_kept_axes(maker))
    shape = (*inputs[0].type.shape[:kept], *maker.output.type.shape[kept:])
    return replace(maker.op, shape=shape)  # type: ignore[type-var]


def _shrinks(value: Value, op: Slice, steps: int) -> bool:
    """In front of what makes `value`, the slice leaves less of a product, a norm or attention to compute."""
    maker = value.producer
    if maker is None or steps == 0:
        return False
    fronts = _fronts(maker, op)
    if fronts is None:
        return False
    if maker.op.name in ("matmul", "layer_normalization", "attention"):
        return True
    return any(
        v is not None and front is not None and len(v.uses) == 1 and _shrinks(v, front, steps - 1)
        for v, front in zip(maker.inputs, fronts, strict=True)
    )


def _fronts(maker: Node, op: Slice) -> list[Slice | None] | None:
    """The slice of each input that gives the slice of the output, None for inputs that stay; None: it is not so."""
    rank, last = maker.output.type.rank, max(op.axes)
    others: list[Slice | None] = [None] * (len(maker.inputs) - 1)
    match maker.op.name:
        case "matmul":
            weights = maker.inputs[1]
            plain = weights is not None and weights.is_constant and weights.type.rank == 2
            return [op, *others] if plain and last < rank - 1 else None
        case "layer_normalization":
            first = maker.op.axis % rank  # type: ignore[attr-defined]
            along = all(v is None or v.type.rank <= rank - first for v in maker.inputs[1:])
            return [op, *others] if along and last < first else None
        case "attention":
            alone = len(maker.inputs) == 3 and not maker.op.causal  # type: ignore[attr-defined]
            return [op, *others] if alone and op.axes == (rank - 2,) else None
        case "transpose":
            perm = maker.op.perm  # type: ignore[attr-defined]
            return [replace(op, axes=tuple(perm[a] for a in op.axes))]
        case "reshape":
            return [op] if last < len(_kept_axes(maker)) else None
    return _pointwise_fronts(maker, op) if isinstance(maker.op, Pointwise) else None


def _pointwise_fronts(maker: Node, op: Slice) -> list[Slice | None] | None:
    """Inputs that are broadcast along the axes stay."""
    out = maker.output.type
    if len(maker.outputs) > 1:
        return None
    fronts: list[Slice | None] = []
    for value in maker.inputs:
        missing = 0 if value is None else out.rank - value.type.rank
        axes = (
            []
            if value is None
            else [a for a in op.axes if a >= missing and value.type.shape[a - missing] != 1]
        )
        if value is not None and any(
            known_equal(value.type.shape[a - missing], out.shape[a]) is not True for a in axes
        ):
            return None
        fronts.append(_along(op, axes, missing) if axes else None)
    return fronts


def _along(op: Slice, axes: list[int], missing: int) -> Slice:
    """The part of a slice along some of its axes, for a tensor that lacks so many on the left."""
    places = [op.axes.index(a) for a in axes]
    steps = tuple(op.steps[k] for k in places) if op.steps else ()
    return Slice(
        tuple(op.starts[k] for k in places),
        tuple(op.ends[k] for k in places),
        tuple(a - missing for a in axes),
        steps,
    )


def _kept_axes(maker: Node) -> list[int]:
    """Leading axes that a reshape keeps."""
    source = maker.inputs[0]
    assert source is not None, "reshape takes one input"
    kept: list[int] = []
    for axis, (a, b) in enumerate(zip(source.type.shape, maker.output.type.shape, strict=False)):
        if known_equal(a, b) is not True:
            break
        kept.append(axis)
    return kept
