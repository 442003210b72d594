"""What a DequantizeLinear says about the value it gives, and spellings of patterns with and without a zero point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.pattern import PatternBuilder, Shape
from engineworks.ir.rule import NoMatch
from engineworks.ops._product_types import is_byte

Spelling = Callable[..., Shape]


@dataclass(frozen=True, slots=True)
class Dequantised:
    """(x - zero) scale in f32. `axis`: along which scale and zero differ; None: they are one number each."""

    node: Node
    x: Value
    scale: Value
    zero: Value | None
    axis: int | None

    def again(self, g: GraphBuilder, x: Value, axis: int | None = None) -> Value:
        """Another value dequantised with the same scale and zero point."""
        op = self.node.op if axis is None else _with_axis(self.node, axis)
        return g.add_node(op, [x, *self.node.inputs[1:]])[0]

    def same_grid(self, other: Dequantised) -> bool:
        """Equal integers mean equal numbers."""
        if self.axis is not None or other.axis is not None or self.x.type.dtype is not other.x.type.dtype:
            return False
        return same_constant(self.scale, other.scale) and same_zero(self.zero, other.zero)


def dequantised(value: Value | None) -> Dequantised | None:
    """How `value` was dequantised; None where it was not, in blocks, or from anything but integers."""
    node = None if value is None else value.producer
    if node is None or node.op.name != "dequantize_linear" or node.op.block:  # type: ignore[attr-defined]
        return None
    x, scale, zero = (*node.inputs, None)[:3]
    assert x is not None and scale is not None
    if not x.type.dtype.is_integer or node.output.type.dtype is not dtypes.f32:
        return None
    one = scale.type.count == 1
    return Dequantised(node, x, scale, zero, None if one else node.op.axis % x.type.rank)  # type: ignore[attr-defined]


def bytes_of(value: Value | None, what: str) -> Dequantised:
    """How `value` was dequantised from 8-bit integers. Raises NoMatch."""
    found = dequantised(value)
    if found is None or not is_byte(found.x.type.dtype):
        raise NoMatch(f"{what} is not dequantised from 8-bit integers")
    return found


def same_constant(a: Value, b: Value) -> bool:
    """One value, or constants of equal numbers."""
    return a is b or (
        a.is_constant and b.is_constant and bool(np.array_equal(a.array.ravel(), b.array.ravel()))
    )


def same_zero(a: Value | None, b: Value | None) -> bool:
    """Equal zero points; none is 0."""
    if a is None or b is None:
        present = a if a is not None else b
        return present is None or (present.is_constant and not present.array.any())
    return same_constant(a, b)


def with_and_without_zero(
    outer: Callable[[PatternBuilder, Shape], Shape], op: str = "dequantize_linear"
) -> Iterator[Spelling]:
    """Spellings of `outer` around a DequantizeLinear (or `op`) of x."""

    def plain(p: PatternBuilder, x: object, scale: object) -> Shape:
        return outer(p, getattr(p, op)(x, scale))

    def shifted(p: PatternBuilder, x: object, scale: object, zero: object) -> Shape:
        return outer(p, getattr(p, op)(x, scale, zero))

    yield plain
    yield shifted


def _with_axis(node: Node, axis: int):  # noqa: ANN202
    import dataclasses

    return dataclasses.replace(node.op, axis=axis)  # type: ignore[type-var]
