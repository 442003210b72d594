"""ONNX's sequences of tensors, where their tensors are known at build: each becomes a value of its own."""

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._sequences import TensorSequence, position_in, sequence_of
from engineworks.ops._slices import sliced


@from_onnx("SequenceEmpty")
def _(g: GraphBuilder, n: ForeignNode) -> TensorSequence:
    return TensorSequence(())


@from_onnx("SequenceConstruct")
def _(g: GraphBuilder, n: ForeignNode) -> TensorSequence:
    return TensorSequence(tuple(n.given()))


@from_onnx("SequenceAt")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    items = sequence_of(n)
    position = position_in(n, 1, len(items), default=0)
    if position == len(items):
        raise n.invalid(f"position {position} is outside of a sequence of {len(items)} tensors")
    return items[position]


@from_onnx("SequenceLength")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.constant(np.array(len(sequence_of(n))))


@from_onnx("SequenceInsert")
def _(g: GraphBuilder, n: ForeignNode) -> TensorSequence:
    """At the end unless a position is given."""
    items = sequence_of(n)
    at = position_in(n, 2, len(items), default=len(items))
    return TensorSequence((*items[:at], n[1], *items[at:]))


@from_onnx("SequenceErase")
def _(g: GraphBuilder, n: ForeignNode) -> TensorSequence:
    """The last one unless a position is given."""
    items = sequence_of(n)
    at = position_in(n, 1, len(items), default=-1)
    return TensorSequence((*items[:at], *items[at + 1 :]))


@from_onnx("SplitToSequence")
def _(g: GraphBuilder, n: ForeignNode) -> TensorSequence:
    """Parts of given sizes, or of one size of which the last may be smaller; without sizes, single slices."""
    x, given, split = n[0], n[1], n.dims(1, "the sizes of the parts")
    axis = normalize_axis(n.attr("axis", 0), x.type.rank)
    extent = x.type.shape[axis]
    if split is not None and given is not None and given.type.rank == 1:
        sizes: list[Dim] = list(split)
    else:
        part = 1 if split is None else split[0]
        if not isinstance(extent, int) or not isinstance(part, int):
            raise n.unsupported(f"axis {axis} of {x.type} must have a size known when the engine is built")
        sizes = [min(part, extent - start) for start in range(0, extent, part)]
    parts: list[Value] = []
    start: Dim = 0
    for size in sizes:
        parts.append(sliced(g, x, (start,), (start + size,), (axis,)))
        start = start + size
    g.graph.scope.require(start, extent, f"SplitToSequence at node '{n.foreign.name}': the sum of the parts")
    if split is None and not n.attr("keepdims", 1):
        parts = [g.squeeze(part, (axis,)) for part in parts]
    return TensorSequence(tuple(parts))


@from_onnx("ConcatFromSequence")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Along an axis, or stacked along a new one."""
    items = sequence_of(n)
    if not items:
        raise n.invalid("an empty sequence has nothing to join")
    rank = items[0].type.rank + (1 if n.attr("new_axis", 0) else 0)
    axis = normalize_axis(n.attr("axis"), rank)
    if n.attr("new_axis", 0):
        items = tuple(g.unsqueeze(item, (axis,)) for item in items)
    return items[0] if len(items) == 1 else g.concat(*items, axis=axis)
