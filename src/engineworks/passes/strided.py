"""What a chain of views shows of a stored tensor, as sizes and strides.

An axis is a run of factors, outermost first: merging axes puts their factors in a row, also where they do not lie
densely within each other, so that a later view may take them apart again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.ir.graph import Node

Factor = tuple[Dim, Dim]
"""Size and stride, in elements."""
Axis = tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Strided:
    """Elements of a stored tensor, from `offset` on."""

    axes: tuple[Axis, ...]
    offset: int = 0

    def through(self, node: Node) -> Strided | None:
        """What a transpose, slice or reshape of these shows; None where strides cannot say it."""
        if node.op.name == "transpose":
            return replace(self, axes=tuple(self.axes[a] for a in node.op.perm))  # type: ignore[attr-defined]
        if node.op.name == "slice":
            return self._sliced(node)
        return self._reshaped(node.output.type.shape)

    def strides(self) -> tuple[Dim, ...] | None:
        """One stride for each axis; None where an axis has no single one."""
        merged = [_dense(axis) for axis in self.axes]
        if any(len(axis) > 1 for axis in merged):
            return None
        return tuple(axis[0][1] if axis else 1 for axis in merged)

    def _sliced(self, node: Node) -> Strided | None:
        source = node.inputs[0]
        assert source is not None, "slice takes one input"
        axes, offset = list(self.axes), self.offset
        for number, (first, count, step) in node.op.bounds(source.type.shape).items():  # type: ignore[attr-defined]
            axis = _dense(axes[number])
            if len(axis) > 1:
                return None
            stride = axis[0][1] if axis else 1
            skipped = first * stride
            if not isinstance(skipped, int) or not isinstance(step, int) or step < 1:
                return None
            offset += skipped
            axes[number] = () if count == 1 else ((count, stride * step),)
        return Strided(tuple(axes), offset)

    def _reshaped(self, shape: tuple[Dim, ...]) -> Strided | None:
        factors = [f for axis in self.axes for f in axis]
        axes: list[Axis] = []
        for size in shape:
            axis = _taken(factors, size)
            if axis is None:
                return None
            axes.append(axis)
        return None if factors else replace(self, axes=tuple(axes))


def strided(tensor: TensorType) -> Strided:
    """A stored tensor, whole."""
    pairs = zip(tensor.shape, tensor.strides(), strict=True)
    return Strided(tuple(() if size == 1 else ((size, stride),) for size, stride in pairs))


def _dense(axis: Axis) -> Axis:
    """The same axis with factors that lie densely within each other as one."""
    made: list[Factor] = []
    for size, stride in axis:
        if made and made[-1][1] == size * stride:
            made[-1] = (made[-1][0] * size, stride)
        else:
            made.append((size, stride))
    return tuple(made)


def _taken(factors: list[Factor], wanted: Dim) -> Axis | None:
    """Factors from the front whose sizes multiply to `wanted`, taken off the list; the last may be split."""
    axis: list[Factor] = []
    have: Dim = 1
    while have != wanted:
        if not factors:
            return None
        size, stride = factors.pop(0)
        if isinstance(have, int) and isinstance(wanted, int) and isinstance(size, int):
            missing = wanted // have
            if wanted % have or (size % missing and missing % size):
                return None
            if size > missing:
                rest = size // missing
                factors.insert(0, (rest, stride))
                size, stride = missing, stride * rest
        axis.append((size, stride))
        have = have * size
    return tuple(axis)
