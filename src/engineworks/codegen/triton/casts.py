"""Conversions between element types in Triton text, as numpy's astype does them, and between memory and held form.

Held form is what expressions are computed in: f64 and f32 as themselves, narrower floats as fp32 (on their grid once
they were cast or loaded), integers as themselves (those of less than a byte in a byte), bool as int1.
"""

from __future__ import annotations

from engineworks.codegen.triton import casts_narrow
from engineworks.codegen.triton.function import Argument, pointer
from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.core.dtypes import DType

_MEMORY = {
    "f64": "tl.float64", "f32": "tl.float32", "f16": "tl.float16", "bf16": "tl.bfloat16",
    "f8e4m3": "tl.float8e4nv", "f8e5m2": "tl.float8e5", "i64": "tl.int64", "i32": "tl.int32", "i16": "tl.int16",
    "i8": "tl.int8", "u64": "tl.uint64", "u32": "tl.uint32", "u16": "tl.uint16", "u8": "tl.uint8", "bool": "tl.uint8",
}  # fmt: skip
"""Types of elements in memory, as `function.element_type` spells them in signatures."""


def held_type(dtype: DType) -> str:
    """The type that values of `dtype` are computed in: 'tl.float32'."""
    if dtype.kind == "bool":
        return "tl.int1"
    if dtype.is_float:
        return "tl.float64" if dtype.bits == 64 else "tl.float32"
    return f"tl.{'u' if dtype.kind == 'uint' else ''}int{max(8, dtype.bits)}"


def held(text: str, dtype: DType) -> str:
    """The held form of what was loaded from memory."""
    if dtype.kind == "bool":
        return f"({text} != 0)"
    return text if _MEMORY[dtype.name] == held_type(dtype) else f"{text}.to(tl.float32)"


def stored(text: str, dtype: DType) -> str:
    """What is written to memory of a held value: floats are rounded to the type, to nearest even."""
    return text if _MEMORY[dtype.name] == held_type(dtype) else f"{text}.to({_MEMORY[dtype.name]})"


def portable_pointer(name: str, dtype: DType) -> Argument:
    """A parameter for elements of any type on any architecture: floats of a byte and less are bytes there."""
    return pointer(name, dtypes.u8 if _is_coded(dtype) else _byte_like(dtype))


def from_memory(lines: Lines, text: str, dtype: DType) -> str:
    """The held form of what was loaded through a `portable_pointer`."""
    if _is_coded(dtype):
        return casts_narrow.decoded(lines, lines.let(text), dtype)
    return wrapped(text, dtype) if dtype.bits < 8 else held(text, dtype)


def into_memory(lines: Lines, name: str, dtype: DType) -> str:
    """What is stored through a `portable_pointer` of a held value on the grid of its type."""
    if _is_coded(dtype):
        return casts_narrow.encoded(lines, name, dtype)
    if dtype.bits < 8:
        return f"({name} & {(1 << dtype.bits) - 1}).to({held_type(dtype)})"
    return stored(name, dtype)


def _is_coded(dtype: DType) -> bool:
    return dtype.is_float and dtype.bits <= 8


def _byte_like(dtype: DType) -> DType:
    """Integers of less than a byte take a whole one."""
    return dtype if dtype.bits >= 8 else dtypes.i8 if dtype.kind == "int" else dtypes.u8


def rounded(lines: Lines, text: str, dtype: DType) -> str:
    """A held value rounded to the grid of a float type narrower than that; others come back as they are."""
    match dtype.name:
        case name if not dtype.is_float or name in ("f64", "f32"):
            return text
        case "f16" | "bf16":
            return f"{text}.to({_MEMORY[dtype.name]}).to(tl.float32)"
    return casts_narrow.rounded(lines, lines.let(text), dtype)


def cast(lines: Lines, value: str, source: DType, target: DType) -> str:
    """The expression of a cast between held forms: float to integer truncates, to bool tests for non-zero, integers
    wrap.
    """
    if target.kind == "bool":
        return value if source.kind == "bool" else f"{value} != 0"
    if source.is_float and target.is_integer:
        return wrapped(_float_to_integer(value, target), target)
    if target.is_integer:
        return wrapped(f"{value}.to({held_type(target)})", target)
    if not source.is_float:
        return rounded(lines, f"{value}.to({held_type(target)})", target)
    if source.bits < target.bits:
        return value if held_type(source) == held_type(target) else f"{value}.to(tl.float64)"
    if source.bits == 64 and target.name != "f16":  # f16 is rounded once, from f64
        value = f"{value}.to(tl.float32)"
    return rounded(lines, value, target)


def _float_to_integer(value: str, target: DType) -> str:
    """Narrow integers go through wider ones, so that what does not fit wraps as on the CPU."""
    if target.name == "u64":
        return f"{value}.to(tl.uint64)"
    wide = f"{value}.to({'tl.int64' if target.name in ('i64', 'u32') else 'tl.int32'})"
    return wide if target.name in ("i64", "i32") else f"{wide}.to({held_type(target)})"


def wrapped(value: str, dtype: DType) -> str:
    """Integers of less than a byte keep their low bits, extended by sign or by zeros."""
    if dtype.bits >= 8 or not dtype.is_integer:
        return value
    if dtype.kind == "uint":
        return f"({value}) & {(1 << dtype.bits) - 1}"
    return f"(({value}) << {8 - dtype.bits}) >> {8 - dtype.bits}"


def bitcast(lines: Lines, value: str, source: DType, target: DType) -> str:
    """The same bits read as another type of the same size."""
    bits = _bits_of(lines, value, source)
    if target.kind == "bool":
        return f"{bits} != 0"
    if target.is_integer:
        return wrapped(f"{bits}.to({held_type(target)}, bitcast=True)", target)
    if target.name in ("f64", "f32", "f16", "bf16"):
        again = f"{bits}.to({_MEMORY[target.name]}, bitcast=True)"
        return again if target.bits >= 32 else f"{again}.to(tl.float32)"
    return casts_narrow.decoded(lines, lines.let(f"{bits}.to(tl.uint8, bitcast=True)"), target)


def _bits_of(lines: Lines, value: str, source: DType) -> str:
    """An integer as wide as the type in memory."""
    if source.kind == "bool":
        return f"{value}.to(tl.uint8)"
    if source.is_integer:
        return value
    if source.name in ("f64", "f32", "f16", "bf16"):
        narrow = value if source.bits >= 32 else f"{value}.to({_MEMORY[source.name]})"
        return f"{narrow}.to(tl.int{source.bits}, bitcast=True)"
    return casts_narrow.encoded(lines, value, source)
