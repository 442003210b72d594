"""Conversions between element types on vectors, as numpy's astype does them, and between register and compute form.

The register form is what kernels hold: half, bfloat, i1 for bool, bytes for f8. The compute form is `Vector`'s.
Narrow floats are rounded here by integer arithmetic, because LLVM calls libgcc for several of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from engineworks.codegen.llvm.narrow_floats import NARROW_FLOATS
from engineworks.codegen.llvm.vector import BITS, Vector, compute_kind, register_kind
from engineworks.core.dtypes import DType


def decode(dtype: DType, value: Vector) -> Vector:
    """Register form to compute form."""
    return _DECODE[dtype.name](value) if dtype.name in _DECODE else value


def encode(dtype: DType, value: Vector) -> Vector:
    """Compute form (on the dtype's grid) to register form; bf16 comes as i16, because LLVM's backend crashes on some
    vectors of bfloat where the CPU lacks them.
    """
    return _ENCODE[dtype.name](value) if dtype.name in _ENCODE else value


def round_to(dtype: DType, value: Vector) -> Vector:
    """The f32 vector rounded to nearest even of a narrow float's grid; other types come back as they are."""
    return _ROUND[dtype.name](value) if dtype.name in _ROUND else value


def cast(value: Vector, source: DType, target: DType) -> Vector:
    """numpy's astype in compute form: float to integer truncates, to bool tests for non-zero, integers wrap."""
    kind = compute_kind(target)
    if target.kind == "bool":
        return value if source.kind == "bool" else value.compare("une" if value.is_float else "ne", 0)
    if source.kind == "bool":
        return value.choose(value.of("", kind).splat(1), 0)
    if source.is_float and target.is_float:
        return _float_to_float(value, target)
    if source.is_float:
        return _wrap(_float_to_integer(value, target), target)
    if target.is_float:
        wide = "double" if target.name == "f64" else "float"
        return round_to(target, value.convert("uitofp" if source.kind == "uint" else "sitofp", wide))
    if BITS[kind] <= BITS[value.kind]:
        return _wrap(value.convert("trunc", kind), target)
    return value.convert("zext" if source.kind == "uint" else "sext", kind)


def bitcast(value: Vector, source: DType, target: DType) -> Vector:
    """The same bits read as another type of the same size."""
    register = encode(source, value)
    if source.kind == "bool":
        register = register.convert("zext", "i8")
    if target.kind == "bool":
        return register.compare("ne", 0)
    return decode(target, register.bits(register_kind(target)))


def _float_to_float(value: Vector, target: DType) -> Vector:
    if target.name == "f64":
        return value.convert("fpext", "double")
    if value.kind == "float":
        return round_to(target, value)
    if target.name != "f32":
        value = _with_sticky_bit(value)
    return round_to(target, value.convert("fptrunc", "float"))


def _with_sticky_bit(value: Vector) -> Vector:
    """The f64 rounded to odd at f32's 23 bits, so that rounding again to a narrow float rounds as if once."""
    bits = value.bits("i64")
    low = (1 << 29) - 1
    sticky = (bits & low).compare("ne", 0).choose(bits.splat(1 << 29), 0)
    return ((bits & ~low) | sticky).bits("double")


def _float_to_integer(value: Vector, target: DType) -> Vector:
    if target.name == "u64":
        return value.convert("fptoui", "i64")
    wide = value.convert("fptosi", "i64" if target.name in ("i64", "u32") else "i32")
    return wide.convert("trunc", compute_kind(target))


def _wrap(value: Vector, target: DType) -> Vector:
    """Integers of less than a byte live in bytes, extended by sign or by zeros."""
    if target.bits >= 8:
        return value
    return _low_unsigned(value, target.bits) if target.kind == "uint" else _low_signed(value, target.bits)


# -- integers of less than a byte -----------------------------------------------------------------------------
def _low_unsigned(value: Vector, bits: int) -> Vector:
    return value & ((1 << bits) - 1)


def _low_signed(value: Vector, bits: int) -> Vector:
    """Numpy's arrays hold the low bits alone, zeros above them: the sign bit is theirs."""
    return (value << (8 - bits)).instruction("ashr", 8 - bits)


# -- bf16 -----------------------------------------------------------------------------------------------------
def _round_bf16(value: Vector) -> Vector:
    bits = value.bits("i32")
    rounded = (bits + ((bits >> 16) & 1) + 0x7FFF) & -0x10000
    quiet = (bits & -0x10000) | 0x400000
    return value.compare("uno", value).choose(quiet, rounded).bits("float")


def _encode_bf16(value: Vector) -> Vector:
    return (value.bits("i32") >> 16).convert("trunc", "i16")


def _decode_bf16(value: Vector) -> Vector:
    return (value.bits("i16").convert("zext", "i32") << 16).bits("float")


# -- f16 ------------------------------------------------------------------------------------------------------
def _encode_f16(value: Vector) -> Vector:
    return value.convert("fptrunc", "half")


def _decode_f16(value: Vector) -> Vector:
    return value.convert("fpext", "float")


Conversion = Callable[[Vector], Vector]
_ROUND: dict[str, Conversion] = {"f16": lambda v: _decode_f16(_encode_f16(v)), "bf16": _round_bf16}
_ENCODE: dict[str, Conversion] = {"f16": _encode_f16, "bf16": _encode_bf16}
_DECODE: dict[str, Conversion] = {"f16": _decode_f16, "bf16": _decode_bf16}
for _name, _format in NARROW_FLOATS.items():
    _ROUND[_name], _ENCODE[_name], _DECODE[_name] = _format.round, _format.encode, _format.decode
for _bits in (2, 4):
    _ENCODE[f"i{_bits}"] = _ENCODE[f"u{_bits}"] = _DECODE[f"u{_bits}"] = partial(_low_unsigned, bits=_bits)
    _DECODE[f"i{_bits}"] = partial(_low_signed, bits=_bits)
