"""ONNX Split, torch's split and chunk: built as slices, so that every part is a view."""

from collections.abc import Sequence

from engineworks.core.dims import Dim, ceil_div
from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._slices import sliced


@from_onnx("Split")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    x = n[0]
    axis = normalize_axis(n.attr("axis", 0), x.type.rank)
    sizes = part_sizes(n, x.type.shape[axis])
    if len(sizes) != n.output_count:
        raise n.invalid(f"{len(sizes)} sizes for {n.output_count} outputs")
    parts: list[Value] = []
    start: Dim = 0
    for k, part in enumerate(sizes):
        end = x.type.shape[axis] if k == len(sizes) - 1 else start + part
        parts.append(sliced(g, x, (start,), (end,), (axis,)))
        start = start + part
    g.graph.scope.require(
        start, x.type.shape[axis], f"Split at node '{n.foreign.name}': the sum of the parts"
    )
    return tuple(parts)


def part_sizes(n: ForeignNode, extent: Dim) -> tuple[Dim, ...]:
    """Sizes of the parts: given, or equal ones of which the last may be smaller (opset 18)."""
    given = n.dims(1, "the sizes of the parts") if n[1] is not None else n.attr("split")
    if given is not None:
        return tuple(given)
    count = n.attr("num_outputs", n.output_count)
    part = ceil_div(extent, count)
    if n.opset < 18 and extent % count != 0:
        raise n.invalid(f"size {extent} is not divisible by {count} outputs")
    return (*[part] * (count - 1), extent - part * (count - 1))


@from_torch("aten.split_with_sizes.default", "aten.split_with_sizes_copy.default", "aten.split.sizes")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    sizes = n.arg("split_sizes" if "split_sizes" in n.foreign.attributes else "split_size")
    return _parts(g, n, sizes)


@from_torch("aten.split.Tensor", "aten.split_copy.Tensor", "aten.chunk.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """As many equal parts as there are outputs; the last may be smaller."""
    extent = n.arg("self").type.shape[normalize_axis(n.arg("dim"), n.arg("self").type.rank)]
    size = ceil_div(extent, n.arg("chunks")) if "chunks" in n.foreign.attributes else n.arg("split_size")
    count = n.output_count
    return _parts(g, n, (*[size] * (count - 1), extent - size * (count - 1)))


def _parts(g: GraphBuilder, n: ForeignNode, sizes: Sequence[Dim]) -> tuple[Value | None, ...]:
    """Consecutive slices; None where an output is not asked for."""
    x = n.arg("self")
    axis = normalize_axis(n.arg("dim"), x.type.rank)
    parts: list[Value | None] = []
    start: Dim = 0
    for size, name in zip(sizes, n.output_names, strict=True):
        parts.append(sliced(g, x, (start,), (start + size,), (axis,)) if name else None)
        start = start + size
    return tuple(parts)
