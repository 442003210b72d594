"""Integer primitives on vectors. Division never traps: x86 would raise SIGFPE for a zero divisor and for MIN / -1."""

from __future__ import annotations

from engineworks.codegen.llvm.vector import BITS, Vector
from engineworks.core.dtypes import DType


def _known(value: Vector) -> int | None:
    """The constant in every lane, if it is one."""
    text = value.name
    if text.startswith("splat ("):
        text = text[:-1].rsplit(" ", 1)[1]
    return int(text) if text.lstrip("-").isdigit() else None


def _shift_of(value: Vector) -> int | None:
    """k where the constant is 2**k."""
    known = _known(value)
    return known.bit_length() - 1 if known and known > 0 and known & (known - 1) == 0 else None


def divide(dtype: DType, a: Vector, b: Vector) -> Vector:
    """Toward zero; by zero gives a, and MIN / -1 wraps."""
    if dtype.kind == "uint":
        shift = _shift_of(b)
        return a >> shift if shift is not None else a.instruction("udiv", _nonzero(b))
    known = _known(b)
    if known is not None and known not in (0, -1):
        return a.instruction("sdiv", b)
    minus = b.compare("eq", -1)
    safe = minus.choose(b.splat(1), _nonzero(b))
    return minus.choose(-a, a.instruction("sdiv", safe))


def floor_divide(dtype: DType, a: Vector, b: Vector) -> Vector:
    """Toward minus infinity."""
    shift = _shift_of(b)
    if shift is not None:
        return a.instruction("lshr" if dtype.kind == "uint" else "ashr", shift)
    quotient = divide(dtype, a, b)
    if dtype.kind == "uint":
        return quotient
    rest = a - quotient * b
    return quotient + _crosses(rest, b).convert("sext", a.kind)


def remainder(dtype: DType, a: Vector, b: Vector) -> Vector:
    """Sign of the dividend; by zero gives 0."""
    if dtype.kind == "uint":
        shift = _shift_of(b)
        return a & ((1 << shift) - 1) if shift is not None else a.instruction("urem", _nonzero(b))
    known = _known(b)
    if known is not None and known not in (0, -1):
        return a.instruction("srem", b)
    safe = b.compare("eq", -1).choose(b.splat(1), _nonzero(b))
    return a.instruction("srem", safe)


def modulo(dtype: DType, a: Vector, b: Vector) -> Vector:
    """Sign of the divisor, as in Python."""
    shift = _shift_of(b)
    if shift is not None:
        return a & ((1 << shift) - 1)
    rest = remainder(dtype, a, b)
    if dtype.kind == "uint":
        return rest
    return _crosses(rest, b).choose(rest + b, rest)


def absolute(dtype: DType, x: Vector) -> Vector:
    """The size; the least signed integer stays as it is."""
    if dtype.kind == "uint":
        return x
    text = f"{x.type} {x.name}"
    return x.of(x.f.call(x.type, f"llvm.abs.{x.suffix}", text, "i1 false"))


def power(dtype: DType, base: Vector, exponent: Vector) -> Vector:
    """By squaring, wrapping as numpy does, until no lane has exponent bits left."""
    f = base.f
    result = f.variable(base.type, base.splat(1).name)
    square = f.variable(base.type, base.name)
    rest = f.variable(base.type, exponent.name)
    again, done = f.fresh("power"), f.fresh("powered")
    f.line(f"br label %{again}")
    f.label(again)
    left, factor = base.of(f.get(base.type, rest)), base.of(f.get(base.type, square))
    so_far = base.of(f.get(base.type, result))
    f.set(base.type, result, (left & 1).compare("ne", 0).choose(so_far * factor, so_far).name)
    f.set(base.type, square, (factor * factor).name)
    left = left >> 1
    f.set(base.type, rest, left.name)
    f.line(f"br i1 {left.compare('ne', 0).any()}, label %{again}, label %{done}")
    f.label(done)
    return base.of(f.get(base.type, result))


def shift_left(dtype: DType, a: Vector, b: Vector) -> Vector:
    """Zero once every bit is shifted out."""
    return _shift("shl", a, b)


def shift_right(dtype: DType, a: Vector, b: Vector) -> Vector:
    """Arithmetic for signed types; zero once every bit is shifted out."""
    return _shift("lshr" if dtype.kind == "uint" else "ashr", a, b)


def _shift(opcode: str, a: Vector, b: Vector) -> Vector:
    width = BITS[a.kind]
    known = _known(b)
    if known is not None and 0 <= known < width:
        return a.instruction(opcode, b)
    inside = b.compare("ult", width)
    return inside.choose(a.instruction(opcode, inside.choose(b, 0)), 0)


def _nonzero(b: Vector) -> Vector:
    return b if _known(b) else b.compare("eq", 0).choose(b.splat(1), b)


def _crosses(rest: Vector, b: Vector) -> Vector:
    """Lanes where a truncated division must step down: a rest of the other sign than the divisor."""
    return rest.compare("ne", 0) & (rest ^ b).compare("slt", 0)
