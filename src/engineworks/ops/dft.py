"""ONNX DFT: a product with a matrix of sines and cosines."""

from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._spectra import transformed


@from_onnx("DFT", since=20)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    axis = n.constant(2, "the axis")
    return _transform(g, n, -2 if axis is None else int(axis.ravel()[0]))


@from_onnx("DFT", since=17)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _transform(g, n, n.attr("axis", 1))


def _transform(g: GraphBuilder, n: ForeignNode, given: int) -> Value:
    x, axis = n[0], normalize_axis(given, n[0].type.rank)
    inverse, one_sided = bool(n.attr("inverse", 0)), bool(n.attr("onesided", 0))
    asked, extent = n.constant(1, "the length of the transform"), x.type.shape[axis]
    if asked is None and not isinstance(extent, int):
        raise n.unsupported(
            f"the length of the transform must be known when the engine is built; here it is {extent}"
        )
    length = (
        int(asked.ravel()[0]) if asked is not None else 2 * (extent - 1) if inverse and one_sided else extent
    )
    return transformed(g, n, x, axis, length, inverse=inverse, one_sided=one_sided)
