"""Kernels that read slices where they lie: the part of a stored tensor that a chain of views gives, as strides."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from engineworks.core.dims import Dim, product
from engineworks.core.types import Layout, TensorType
from engineworks.ir.graph import Node, Value
from engineworks.ir.group import Group, Part
from engineworks.passes.layouts import runs_of
from engineworks.passes.partition_views import RESHAPES

ALIGNMENT = 16
"""Bytes that a part's first element is a multiple of: kernels load as much at once."""


def reading_parts(group: Group) -> Group:
    """The group, reading whole tensors where its inputs are slices of them."""
    inputs, parts = list(group.inputs), dict(group.parts)
    for number, value in enumerate(group.inputs[: len(group.anchor.inputs)]):
        if value is None or value.is_constant:
            continue
        found = _part_of(value)
        if found is not None:
            inputs[number], parts[number] = found
    return replace(group, inputs=tuple(inputs), parts=parts) if parts else group


@dataclass(frozen=True, slots=True)
class _Strided:
    """Elements of a stored tensor."""

    shape: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    offset: int = 0


def _part_of(value: Value) -> tuple[Value, Part] | None:
    """(whole tensor, part) when views with a slice among them make `value` of it; None when they are no strides."""
    chain: list[Node] = []
    root = value
    while (node := root.producer) is not None and node.op.name in RESHAPES | {"transpose", "slice"}:
        source = node.inputs[0]
        if source is None or source.is_constant:
            return None
        chain.append(node)
        root = source
    if not any(n.op.name == "slice" for n in chain):
        return None
    seen = _Strided(root.type.shape, root.type.strides())
    for node in reversed(chain):
        after = _through(node, seen)
        if after is None:
            return None
        seen = after
    if seen.offset * value.type.dtype.size_bytes % ALIGNMENT:
        return None
    order = (value.type.layout or Layout(tuple(range(value.type.rank)))).order
    layout = Layout(order, 0, seen.strides)
    return root, Part(seen.offset, TensorType(value.type.dtype, value.type.shape, layout))


def _through(node: Node, seen: _Strided) -> _Strided | None:
    """What a view shows of strided elements; None where strides do not say it."""
    if node.op.name == "transpose":
        perm = node.op.perm  # type: ignore[attr-defined]
        return _Strided(tuple(seen.shape[a] for a in perm), tuple(seen.strides[a] for a in perm), seen.offset)
    if node.op.name == "slice":
        return _sliced(node, seen)
    return _reshaped(seen, node.output.type.shape)


def _sliced(node: Node, seen: _Strided) -> _Strided | None:
    offset, strides = seen.offset, list(seen.strides)
    for axis, (first, _, step) in node.op.bounds(seen.shape).items():  # type: ignore[attr-defined]
        skipped = first * strides[axis]
        if not isinstance(skipped, int) or not isinstance(step, int) or step < 1:
            return None
        offset += skipped
        strides[axis] = strides[axis] * step
    return _Strided(node.output.type.shape, tuple(strides), offset)


def _reshaped(seen: _Strided, shape: tuple[Dim, ...]) -> _Strided | None:
    """Runs of axes that are merged must lie densely within each other."""
    strides: list[Dim] = []
    for ours, theirs in runs_of(seen.shape, shape):
        real = [a for a in ours if seen.shape[a] != 1]
        for outer, inner in itertools.pairwise(real):
            if seen.strides[outer] != seen.shape[inner] * seen.strides[inner]:
                return None
        innermost = seen.strides[real[-1]] if real else 1
        strides += [product([shape[a] for a in theirs[k + 1 :]]) * innermost for k in range(len(theirs))]
    return _Strided(shape, tuple(strides), seen.offset)
