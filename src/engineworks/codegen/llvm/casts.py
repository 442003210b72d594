"""Conversions between element types on vectors, as numpy's astype does them, and between register and compute form.

The register form is what kernels hold: half, bfloat, i1 for bool, bytes for f8. The compute form is `Vector`'s.
Narrow floats are rounded here by integer arithmetic, because LLVM calls libgcc for several of them.
"""

from __future__ import annotations

from collections.abc import Callable

from engineworks.codegen.llvm.vector import BITS, Vector, compute_kind
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
    kind = {"f16": "half", "bf16": "bfloat", "f8e4m3": "i8", "f8e5m2": "i8"}.get(
        target.name, compute_kind(target)
    )
    return decode(target, register.bits(kind))


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


# -- f8 -------------------------------------------------------------------------------------------------------
def _round_f8(value: Vector, mantissa: int, least: int, largest: float, beyond: float) -> Vector:
    """Round |x| to `mantissa` bits (steps of 2**least below the normal range); above `largest` comes `beyond`."""
    size = value.abs()
    drop = 23 - mantissa
    bits = size.bits("i32")
    normal = ((bits + ((bits >> drop) & 1) + ((1 << (drop - 1)) - 1)) & -(1 << drop)).bits("float")
    magic = 1.5 * 2.0 ** (23 + least)
    small = (size + magic) - magic
    out = size.compare("olt", 2.0 ** (least + mantissa)).choose(small, normal)
    out = out.compare("ogt", largest).choose(out.splat(beyond), out)
    return size.compare("uno", size).choose(size, out).copysign(value)


def _round_e4m3(value: Vector) -> Vector:
    return _round_f8(value, 3, -9, 448.0, float("nan"))


def _round_e5m2(value: Vector) -> Vector:
    return _round_f8(value, 2, -16, 57344.0, float("inf"))


def _encode_e5m2(value: Vector) -> Vector:
    return (value.convert("fptrunc", "half").bits("i16") >> 8).convert("trunc", "i8")


def _decode_e5m2(value: Vector) -> Vector:
    return (value.convert("zext", "i16") << 8).bits("half").convert("fpext", "float")


def _encode_e4m3(value: Vector) -> Vector:
    size, bits = value.abs(), value.bits("i32")
    normal = ((bits & 0x7FFFFFFF) >> 20) - (120 << 3)
    small = (size * 512.0).convert("fptosi", "i32")
    code = size.compare("olt", 2.0**-6).choose(small, normal)
    code = size.compare("uno", size).choose(code.splat(0x7F), code)
    return (code | ((bits >> 24) & 0x80)).convert("trunc", "i8")


def _decode_e4m3(value: Vector) -> Vector:
    wide = value.convert("zext", "i32")
    code = wide & 0x7F
    normal = ((code << 20) + (120 << 23)).bits("float")
    small = code.convert("sitofp", "float") * 2.0**-9
    size = code.compare("ult", 8).choose(small, normal)
    size = code.compare("eq", 0x7F).choose(size.splat(float("nan")), size)
    return size.copysign((wide << 24).bits("float"))


Conversion = Callable[[Vector], Vector]
_ROUND: dict[str, Conversion] = {
    "f16": lambda v: _decode_f16(_encode_f16(v)), "bf16": _round_bf16, "f8e4m3": _round_e4m3, "f8e5m2": _round_e5m2,
}  # fmt: skip
_ENCODE: dict[str, Conversion] = {
    "f16": _encode_f16, "bf16": _encode_bf16, "f8e4m3": _encode_e4m3, "f8e5m2": _encode_e5m2,
    "i4": lambda v: _low_unsigned(v, 4), "u4": lambda v: _low_unsigned(v, 4),
}  # fmt: skip
_DECODE: dict[str, Conversion] = {
    "f16": _decode_f16, "bf16": _decode_bf16, "f8e4m3": _decode_e4m3, "f8e5m2": _decode_e5m2,
    "i4": lambda v: _low_signed(v, 4), "u4": lambda v: _low_unsigned(v, 4),
}  # fmt: skip
