"""Which nodes move data without changing it, and which of those are no work at all."""

from __future__ import annotations

from engineworks.core.types import row_major
from engineworks.ir.graph import Node, Value
from engineworks.passes.layouts import lies, regrouped, transposed

RESHAPES = frozenset({"reshape", "squeeze", "unsqueeze", "flatten", "identity"})
"""Same elements in the same row-major order."""
FREE_VIEWS = RESHAPES | {"transpose", "slice", "expand", "relayout"}
"""Views without arithmetic on values: several readers may each follow them."""


def is_alias(node: Node) -> bool:
    """The output can be the input's memory: a transpose whose layout follows, a reshape of a row-major tensor."""
    source = node.inputs[0] if node.inputs else None
    if source is None or source.is_constant:
        return False
    out = node.output.type
    if node.op.name == "transpose":
        return lies(out, transposed(source.type, node.op.perm))  # type: ignore[attr-defined]
    if node.op.name == "identity":
        return lies(out, source.type.layout or row_major(out.rank))
    if node.op.name in RESHAPES:
        same_memory = regrouped(source.type, out)
        return same_memory is not None and lies(out, same_memory)
    return False


WIDENING = frozenset({"cast", "sub", "mul", "add"})
"""What turns a narrow tensor into the numbers it stands for."""


def narrow_source(value: Value) -> tuple[list[Node], Value]:
    """The nodes, in order, that make `value` of a narrower tensor of its shape by a cast and arithmetic with numbers,
    and that tensor; none and the value itself where it is made another way.
    """
    nodes: list[Node] = []
    source = value
    while (node := source.producer) is not None and node.op.name in WIDENING:
        given = [v for v in node.inputs if v is not None and not (v.is_constant and v.array.size == 1)]
        if len(given) != 1 or node.output.type.shape != given[0].type.shape:
            break
        nodes.append(node)
        source = given[0]
        if node.op.name == "cast":
            break
    narrower = source.type.dtype.bits < value.type.dtype.bits
    return (nodes[::-1], source) if narrower else ([], value)


def widens(node: Node) -> bool:
    """Whoever reads the node can as well read the narrower tensor that it is made of: less is stored and moved."""
    return node.op.name in WIDENING and bool(narrow_source(node.output)[0])


def keeps_axes(node: Node) -> bool:
    """A reshape that only adds or drops axes of size one."""
    source = node.inputs[0]
    assert source is not None
    mine = [d for d in node.output.type.shape if d != 1]
    theirs = [d for d in source.type.shape if d != 1]
    return mine == theirs


def is_simple_view(node: Node) -> bool:
    """A free view through which an index stays simple (no division)."""
    return node.op.name in FREE_VIEWS and (node.op.name not in RESHAPES or keeps_axes(node))
