"""torch's flip and roll: axes reversed, or turned around. Built from slices."""

from engineworks.core.dims import Dim, known_at_most, known_equal, product
from engineworks.core.shapes import normalize_axes, normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._slices import OPEN, sliced


@from_torch("aten.flip.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    axes = normalize_axes(n.arg("dims"), x.type.rank) if x.type.rank else ()
    if not axes:
        return x
    return g.slice(x, starts=(-1,) * len(axes), ends=(-OPEN,) * len(axes), axes=axes, steps=(-1,) * len(axes))


@from_torch("aten.roll.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Without axes x is rolled as if it were flat."""
    x, shifts, axes = n.arg("self"), n.arg("shifts"), n.arg("dims")
    if not axes:
        flat = _rolled(g, g.reshape_to(x, (product(x.type.shape),)), 0, shifts[0])
        return g.reshape_to(flat, x.type.shape)
    for axis, shift in zip(axes, shifts, strict=True):
        x = _rolled(g, x, normalize_axis(axis, x.type.rank), shift)
    return x


def _rolled(g: GraphBuilder, x: Value, axis: int, shift: Dim) -> Value:
    """The last `shift` elements before the others."""
    extent = x.type.shape[axis]
    if known_equal(extent, 0):
        return x
    cut = _cut(shift, extent)
    if cut in (0, extent):
        return x
    return g.concat(sliced(g, x, (cut,), (extent,), (axis,)), sliced(g, x, (0,), (cut,), (axis,)), axis=axis)


def _cut(shift: Dim, extent: Dim) -> Dim:
    """Where the element that comes first lies: (-shift) modulo the size, which for small shifts needs no remainder."""
    if isinstance(shift, int) and known_at_most(abs(shift), extent):
        return extent - shift if shift > 0 else -shift
    return (-shift) % extent
