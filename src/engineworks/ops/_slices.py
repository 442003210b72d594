"""Slices, shared by the operators that cut tensors: where they begin, and nodes only where they cut something."""

from collections.abc import Sequence

from engineworks.core.dims import Dim
from engineworks.core.shapes import normalize_axes, normalize_axis, slice_bounds
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Value

OPEN = 2**63 - 1
"""An end that a slice takes for none."""
Bounds = dict[int, tuple[Dim, Dim, int]]
"""(first element, number of elements, step) by axis."""


def bounds_of(
    shape: Sequence[Dim],
    starts: Sequence[Dim],
    ends: Sequence[Dim],
    axes: Sequence[int],
    steps: Sequence[int] = (),
) -> Bounds:
    """Where numpy's slicing of `shape` begins, and how much it takes; empty steps are all 1.

    Raises:
        InvalidModel: not equally many starts, ends, axes and steps.
    """
    strides = steps or (1,) * len(axes)
    if not len(starts) == len(ends) == len(axes) == len(strides):
        raise InvalidModel("starts, ends, axes and steps must be equally many")
    normalize_axes(axes, len(shape))
    return {
        axis: (*slice_bounds(start, end, step, shape[axis]), step)
        for start, end, axis, step in zip(starts, ends, axes, strides, strict=True)
    }


def sliced(
    g: GraphBuilder,
    x: Value,
    starts: Sequence[Dim],
    ends: Sequence[Dim],
    axes: Sequence[int],
    steps: Sequence[int] = (),
) -> Value:
    """The slice without axes that it takes whole; x itself when there are no others."""
    strides = steps or (1,) * len(axes)
    bounds = bounds_of(x.type.shape, starts, ends, axes, steps)
    kept = [
        k
        for k, (axis, (first, count, step)) in enumerate(bounds.items())
        if not (first == 0 and count == x.type.shape[axis] and step == 1)
    ]
    if not kept:
        return x
    return g.slice(
        x,
        starts=tuple(starts[k] for k in kept),
        ends=tuple(ends[k] for k in kept),
        axes=tuple(axes[k] for k in kept),
        steps=tuple(strides[k] for k in kept),
    )


def torch_slice(n: ForeignNode) -> tuple[Value, int, Dim, Dim, int]:
    """(x, axis, start, end, step) of an operator with torch's arguments of a slice."""
    x, start, end = n.arg("self"), n.arg("start"), n.arg("end")
    axis = normalize_axis(n.arg("dim"), x.type.rank)
    return x, axis, 0 if start is None else start, OPEN if end is None else end, n.arg("step")
