"""Floats of eight bits and fewer by integer arithmetic on fp32: their grids, codes and values, as numpy's twins do.

The formats are those of the CPU's code (codegen/llvm/narrow_floats.py). They do not depend on the GPU's conversions,
which older ones lack and which saturate where numpy gives NaN.
"""

from __future__ import annotations

from engineworks.codegen.llvm.narrow_floats import NARROW_FLOATS, NarrowFloat
from engineworks.codegen.triton.lines import Lines
from engineworks.core.dtypes import DType


def rounded(lines: Lines, value: str, dtype: DType) -> str:
    """The fp32 `value` (a name) rounded to nearest even on the grid of `dtype`."""
    form = NARROW_FLOATS[dtype.name]
    bits = lines.let(f"{value}.to(tl.int32, bitcast=True)")
    if dtype.name == "f8e8m0":
        return _rounded_power(lines, value, bits)
    size = lines.let(f"tl.abs({value})")
    drop = 23 - form.mantissa
    low = lines.let(f"{bits} & 0x7FFFFFFF")
    normal = lines.let(
        f"(({low} + (({low} >> {drop}) & 1) + {(1 << (drop - 1)) - 1}) & {-(1 << drop)}).to(tl.float32, bitcast=True)"
    )
    magic = 1.5 * 2.0 ** (23 + form.least)
    small = lines.let(f"({size} + {magic!r}) - {magic!r}")
    out = lines.let(f"tl.where({size} < {2.0 ** (form.least + form.mantissa)!r}, {small}, {normal})")
    out = lines.let(f"tl.where({out} > {form.largest!r}, {_constant(form.beyond)}, {out})")
    if form.nan is not None:
        out = lines.let(f"tl.where({value} != {value}, {value}, {out})")
    else:  # NaN becomes a zero of the other sign, as ml_dtypes gives
        out = lines.let(f"tl.where({value} != {value}, 0.0, {out})")
        bits = lines.let(f"tl.where({value} != {value}, ~{bits}, {bits})")
    whole = f"({out}.to(tl.int32, bitcast=True) & 0x7FFFFFFF) | ({bits} & -0x80000000)"
    signed = lines.let(f"({whole}).to(tl.float32, bitcast=True)")
    return f"tl.where({signed} == 0.0, 0.0, {signed})" if form.is_unsigned_zero else signed


def _rounded_power(lines: Lines, value: str, bits: str) -> str:
    """To the nearest power of two, ties up; zero and what is negative become NaN."""
    normal = lines.let(f"({bits} + {1 << 22}) & {-(1 << 23)}")
    # 2**-127 is an f32 below the normal range; between it and the next power ml_dtypes rounds up.
    small = lines.let(f"tl.where({bits} <= {1 << 22}, {1 << 22}, {1 << 23})")
    out = lines.let(
        f"tl.where(({bits} >= 0) & ({bits} < {1 << 23}), {small}, {normal}).to(tl.float32, bitcast=True)"
    )
    return f"tl.where(({value} > 0.0) & ({out} < float('inf')), {out}, float('nan'))"


def encoded(lines: Lines, value: str, dtype: DType) -> str:
    """Codes (uint8) of an fp32 `value` (a name) that lies on the grid."""
    form = NARROW_FLOATS[dtype.name]
    bits = lines.let(f"{value}.to(tl.int32, bitcast=True)")
    if dtype.name == "f8e8m0":
        return lines.let(f"(({bits} >> 23) & 0xFF).to(tl.uint8)")
    size = lines.let(f"tl.abs({value})")
    normal = f"(({bits} & 0x7FFFFFFF) >> {23 - form.mantissa}) - {(127 - form.bias) << form.mantissa}"
    small = lines.let(f"tl.where({size} < 1.0, {size} * {2.0**-form.least!r}, 0.0).to(tl.int32)")
    code = lines.let(f"tl.where({size} < {2.0 ** (form.least + form.mantissa)!r}, {small}, {normal})")
    sign = lines.let(f"({bits} >> {32 - form.bits}) & {1 << (form.bits - 1)}")
    nan = f"{value} != {value}"
    if form.is_unsigned_zero:
        code = lines.let(f"tl.where({value} == 0.0, 0, {code} | {sign})")
        code = lines.let(f"tl.where({nan}, {1 << (form.bits - 1)}, {code})")
    else:
        if dtype.name == "f8e5m2":
            code = lines.let(f"tl.where({size} == float('inf'), 0x7C, {code})")
        code = lines.let(f"({code if form.nan is None else f'tl.where({nan}, {form.nan}, {code})'}) | {sign}")
    return lines.let(f"{code}.to(tl.uint8)")


def decoded(lines: Lines, code: str, dtype: DType) -> str:
    """The fp32 values of codes (uint8); bits above the format's are ignored."""
    form = NARROW_FLOATS[dtype.name]
    wide = lines.let(f"{code}.to(tl.int32)")
    if dtype.name == "f8e8m0":
        size = f"tl.where({wide} == 0, {1 << 22}, {wide} << 23).to(tl.float32, bitcast=True)"
        return lines.let(f"tl.where({wide} == {form.nan}, float('nan'), {size})")
    low = lines.let(f"{wide} & {(1 << (form.bits - 1)) - 1}")
    normal = f"(({low} << {23 - form.mantissa}) + {(127 - form.bias) << 23}).to(tl.float32, bitcast=True)"
    size = lines.let(
        f"tl.where({low} < {1 << form.mantissa}, {low}.to(tl.float32) * {2.0**form.least!r}, {normal})"
    )
    size = _specials(lines, size, low, form, dtype)
    sign = lines.let(f"({wide} & {1 << (form.bits - 1)}) << {32 - form.bits}")
    signed = lines.let(f"({size}.to(tl.int32, bitcast=True) | {sign}).to(tl.float32, bitcast=True)")
    if form.is_unsigned_zero:
        whole = lines.let(f"{wide} & {(1 << form.bits) - 1}")
        return lines.let(f"tl.where({whole} == {1 << (form.bits - 1)}, float('nan'), {signed})")
    return signed


def _specials(lines: Lines, size: str, low: str, form: NarrowFloat, dtype: DType) -> str:
    """Sizes with infinities and NaN where the format has them."""
    if form.nan is None or form.is_unsigned_zero:
        return size
    if dtype.name == "f8e5m2":
        size = lines.let(f"tl.where({low} == 0x7C, float('inf'), {size})")
        return lines.let(f"tl.where({low} > 0x7C, float('nan'), {size})")
    return lines.let(f"tl.where({low} == {form.nan}, float('nan'), {size})")


def _constant(value: float) -> str:
    """Infinities and NaN as Triton text."""
    return repr(value) if abs(value) < float("inf") else f"float('{value}')"
