"""ONNX's and torch's squeeze: axes of size 1 dropped. Built as a reshape."""

from engineworks.core.dims import known_equal
from engineworks.core.shapes import normalize_axes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._axes import axes_of


@from_onnx("Squeeze")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n[0].type
    given = axes_of(n, 1)
    if given is None:
        unsure = [d for d in x.shape if known_equal(d, 1) is None]
        if unsure:
            raise n.unsupported(
                f"without axes, whether size {unsure[0]} is 1 decides the rank; name the axes, or narrow its range"
            )
        given = tuple(a for a, d in enumerate(x.shape) if known_equal(d, 1))
    for axis in normalize_axes(given, x.rank):
        g.graph.scope.require(x.shape[axis], 1, f"Squeeze at node '{n.foreign.name}': axis {axis}")
    return g.squeeze(n[0], given)


@from_torch("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims")
@from_torch("aten.squeeze_copy.default", "aten.squeeze_copy.dim", "aten.squeeze_copy.dims")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Axes of another size than 1 stay; what may be 1 is what torch.export has said."""
    return g.reshape_to(n.arg("self"), n.result_shape())
