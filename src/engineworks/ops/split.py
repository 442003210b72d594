"""ONNX Split: built as slices, so that every part is a view."""

from engineworks.core.dims import Dim, ceil_div
from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
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
