"""Floats rounded, clipped and cast to bytes: the end of every quantised epilogue, in the fewest instructions.

x86 rounds to nearest even while it converts, and saturates while it narrows: of round, max, min, truncating conversion
and narrowing, a minimum, a conversion and a narrowing are left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.vector import Vector
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.scalar import Scalar

_MOST_SHIFT = 1 << 20
"""Zero points beyond this are not integers that f32 adds exactly to rounded ones."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """round_even(x) + shift, within [low, high] (which hold what `shift` was added to)."""

    x: Scalar
    shift: int
    low: int
    high: int


def rounded_byte(node: Scalar) -> Rounded | None:
    """What `node` is when it is cast(clip(round_even(x) + shift), i8 or u8) of an f32, clipped to bytes; else None.

    Bytes that are clipped to numbers once more are such bytes too.
    """
    if node.dtype not in (dtypes.i8, dtypes.u8):
        return None
    if node.head in ("min", "max"):
        parts = _with_number(node)
        inner = None if parts is None else rounded_byte(parts[0])
        if parts is None or inner is None:
            return None
        low, high = (max(inner.low, int(parts[1])), inner.high) if node.head == "max" else (
            inner.low, min(inner.high, int(parts[1])),
        )  # fmt: skip
        return replace(inner, low=low, high=high) if low <= high else None
    return _cast_byte(node) if node.head == "cast" and node.args[0].dtype is dtypes.f32 else None


def _cast_byte(node: Scalar) -> Rounded | None:
    bounds: dict[str, float] = {}
    inner = node.args[0]
    while inner.head in ("min", "max") and inner.head not in bounds and (parts := _with_number(inner)):
        bounds[inner.head] = parts[1]
        inner = parts[0]
    shift = 0.0
    if inner.head == "add" and (parts := _with_number(inner)):
        inner, shift = parts
    if inner.head != "round_even" or set(bounds) != {"min", "max"}:
        return None
    low, high = bounds["max"], bounds["min"]
    lowest, highest = _limits(node.dtype)
    whole = all(float(v).is_integer() for v in (low, high, shift)) and abs(shift) < _MOST_SHIFT
    if not (whole and lowest <= low <= high <= highest):
        return None
    return Rounded(inner.args[0], int(shift), int(low), int(high))


def widened(rounded: Rounded, value: Callable[[Scalar], Vector]) -> Vector:
    """The bytes as f32 again, without having been bytes."""
    whole = value(rounded.x).intrinsic("rint")
    if rounded.shift:
        whole = whole + float(rounded.shift)
    return whole.at_least(float(rounded.low)).at_most(float(rounded.high))


def narrowed(rounded: Rounded, dtype: DType, value: Callable[[Scalar], Vector]) -> Vector:
    """The bytes. What is not a number becomes some byte, as in numpy."""
    x, (lowest, highest) = value(rounded.x), _limits(dtype)
    signed = dtype.kind == "int"
    # A conversion that overflows gives the lowest i32: the lowest byte when signed, the highest when not.
    if not (signed and rounded.low == lowest and not rounded.shift):
        x = x.at_least(float(rounded.low - rounded.shift))
    if not (not signed and rounded.high == highest and not rounded.shift):
        x = x.at_most(float(rounded.high - rounded.shift))
    whole = x.of(x.f.call(_integers(x), _conversion(x), f"{x.type} {x.name}"), "i32")
    if rounded.shift:
        whole = whole + rounded.shift
    saturated = (
        whole.intrinsic("smax", lowest).intrinsic("smin", highest)
        if signed
        else whole.intrinsic("umin", highest)
    )
    return saturated.convert("trunc", "i8")


def _integers(x: Vector) -> str:
    return x.of("", "i32").type


def _conversion(x: Vector) -> str:
    return f"llvm.lrint.{x.of('', 'i32').suffix}.{x.suffix}"


def _limits(dtype: DType) -> tuple[int, int]:
    return (-128, 127) if dtype.kind == "int" else (0, 255)


def _with_number(node: Scalar) -> tuple[Scalar, float] | None:
    """(the other operand, the constant) of a commutative primitive."""
    for one, other in (node.args, node.args[::-1]):
        if other.head == "const":
            return one, float(other.payload)
    return None
