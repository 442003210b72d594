"""Kernels that read slices where they lie: the part of a stored tensor that a chain of views gives, as strides."""

from __future__ import annotations

from dataclasses import replace

from engineworks.core.types import Layout, TensorType
from engineworks.ir.graph import Node, Value
from engineworks.ir.group import Group, Part
from engineworks.passes.partition_views import RESHAPES
from engineworks.passes.strided import Strided, strided

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
    seen: Strided | None = strided(root.type)
    for node in reversed(chain):
        seen = None if seen is None else seen.through(node)
    strides = None if seen is None else seen.strides()
    if seen is None or strides is None or seen.offset * value.type.dtype.size_bytes % ALIGNMENT:
        return None
    order = (value.type.layout or Layout(tuple(range(value.type.rank)))).order
    layout = Layout(order, 0, strides)
    return root, Part(seen.offset, TensorType(value.type.dtype, value.type.shape, layout))
