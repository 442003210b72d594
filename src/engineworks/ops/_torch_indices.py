"""torch's advanced indexing: index tensors on some axes, as positions on one axis that stands for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, product
from engineworks.core.shapes import broadcast
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode
from engineworks.ir.graph import Value


@dataclass(frozen=True, slots=True)
class Indexing:
    """x with its indexed axes side by side, and where the indices point.

    Attributes:
        perm: the order of x's axes in which the indexed ones stand together.
        first: the place of the first indexed axis in that order.
        count: how many axes are indexed.
        shape: x's, in that order.
        positions: i64, the shape that the indices broadcast to: row-major positions in the indexed axes.
    """

    perm: tuple[int, ...]
    first: int
    count: int
    shape: tuple[Dim, ...]
    positions: Value

    @property
    def joined(self) -> tuple[Dim, ...]:
        """The shape with one axis for all indexed ones."""
        before, inside = self.shape[: self.first], self.shape[self.first : self.first + self.count]
        return (*before, product(inside), *self.shape[self.first + self.count :])


def indexing(g: GraphBuilder, n: ForeignNode, x: Value, given: Sequence[Value | None]) -> Indexing:
    """What the index tensors (None: the whole axis; booleans: where they hold) ask for.

    torch puts the indices' axes where the indexed axes are if these stand together, else first.
    """
    axes, indices = _by_axis(g, n, given)
    rank, first = x.type.rank, axes[0]
    together = axes == list(range(first, first + len(axes)))
    others = [a for a in range(rank) if a not in axes]
    perm = tuple(range(rank)) if together else (*axes, *others)
    shape = tuple(x.type.shape[a] for a in perm)
    first = first if together else 0
    extents = shape[first : first + len(axes)]
    return Indexing(perm, first, len(axes), shape, _positions(g, indices, extents))


def _by_axis(g: GraphBuilder, n: ForeignNode, given: Sequence[Value | None]) -> tuple[list[int], list[Value]]:
    """The indexed axes and an integer tensor for each; a mask indexes as many axes as it has."""
    axes: list[int] = []
    indices: list[Value] = []
    axis = 0
    for index in given:
        if index is None:
            axis += 1
        elif index.type.dtype in (dtypes.bool_, dtypes.u8):
            for place in _places(g, n, index):
                indices.append(place)
                axes.append(axis)
                axis += 1
        else:
            indices.append(g.cast_to(index, dtypes.i64))
            axes.append(axis)
            axis += 1
    return axes, indices


def _places(g: GraphBuilder, n: ForeignNode, mask: Value) -> list[Value]:
    """Where a mask holds: an integer vector for each of its axes."""
    rank = mask.type.rank
    if rank == 0:
        raise n.unsupported("a mask without axes, whose result is there or not as its data say")
    if mask.constant is not None:
        return [g.constant(places.astype(np.int64)) for places in np.nonzero(mask.constant.array)]
    found = g.non_zero(mask, count=g.graph.scope.fresh("nonzero", 0, bounds(mask.type.count)[1]))
    return [g.squeeze(g.slice(found, starts=(k,), ends=(k + 1,), axes=(0,)), (0,)) for k in range(rank)]


def _positions(g: GraphBuilder, indices: Sequence[Value], extents: Sequence[Dim]) -> Value:
    """Σ index * stride, where negative indices count from the end; one index alone is left as it is."""
    if len(indices) == 1:
        return indices[0]
    broadcast(*[v.type.shape for v in indices], scope=g.graph.scope)
    total: Value | None = None
    for k, (index, extent) in enumerate(zip(indices, extents, strict=True)):
        wrapped = g.where(g.less(index, 0), g.add(index, g.dims(extent)), index)
        step = product(extents[k + 1 :])
        part = wrapped if step == 1 else g.mul(wrapped, g.dims(step))
        total = part if total is None else g.add(total, part)
    assert total is not None, "an indexing has indices"
    return total


def joined_axes(g: GraphBuilder, x: Value, where: Indexing) -> Value:
    """x in the order of `where`, its indexed axes as one."""
    turned = x if where.perm == tuple(range(x.type.rank)) else g.transpose(x, perm=where.perm)
    return g.reshape_to(turned, where.joined)
