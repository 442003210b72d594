"""sin and cos: reduction by multiples of pi/2, with a slow exact path for huge arguments."""

from __future__ import annotations

from engineworks.codegen.llvm import math_tables as tables
from engineworks.codegen.llvm.function import Function, f64_constant
from engineworks.codegen.llvm.vector import Vector

_INTEGER = {"float": "i32", "double": "i64"}
# Up to here n = x * 2/pi has so few bits that the first product below is exact.
_LARGEST = {"float": 65536.0, "double": 6.0e7}


def sin(x: Vector) -> Vector:
    """sin(x) for every finite x; NaN for infinities."""
    quadrant, r = _reduce(x)
    return _quarter(quadrant, r)


def cos(x: Vector) -> Vector:
    """cos(x) = sin(x + pi/2)."""
    quadrant, r = _reduce(x)
    return _quarter(quadrant + 1, r)


def tan(x: Vector) -> Vector:
    """tan(x) with one reduction."""
    quadrant, r = _reduce(x)
    return _quarter(quadrant, r) / _quarter(quadrant + 1, r)


def _quarter(quadrant: Vector, r: Vector) -> Vector:
    """sin(quadrant * pi/2 + r), |r| <= pi/4."""
    z = r * r
    sine = (r * z).fma(z.polynomial(tables.SIN[r.kind]), r)
    cosine = (z * z).fma(z.polynomial(tables.COS[r.kind]), z.fma(-0.5, 1.0))
    value = (quadrant & 1).compare("ne", 0).choose(cosine, sine)
    sign = (quadrant & 2) << (30 if r.kind == "float" else 62)
    return (value.bits(_INTEGER[r.kind]) ^ sign).bits(r.kind)


def _reduce(x: Vector) -> tuple[Vector, Vector]:
    """(quadrant, r): x = quadrant * pi/2 + r modulo 2 pi; quadrant is integers as wide as x."""
    f = x.f
    kind = _INTEGER[x.kind]
    magic = 1.5 * 2.0 ** (23 if x.kind == "float" else 52)
    shifted = x.fma(0.6366197723675814, magic)  # 2/pi
    n = shifted - magic
    rest = x
    for part in tables.HALF_PI[x.kind]:
        rest = n.fma(-part, rest)
    quadrant = shifted.bits(kind)
    quadrant_slot, rest_slot = f.variable(quadrant.type, quadrant.name), f.variable(x.type, rest.name)
    huge = x.abs().compare("ogt", _LARGEST[x.kind])
    with f.when(huge.any()):
        _reduce_huge_lanes(x, quadrant_slot, rest_slot)
    return quadrant.of(f.get(quadrant.type, quadrant_slot)), x.of(f.get(x.type, rest_slot))


def _reduce_huge_lanes(x: Vector, quadrant_slot: str, rest_slot: str) -> None:
    """Replace the reduction of the lanes that are too large, one by one."""
    f, kind = x.f, _INTEGER[x.kind]
    given = f.variable(x.type, x.name)
    # Three words of zeros first: small exponents then need no case of their own.
    words = (0, 0, *tables.TWO_OVER_PI)
    table = f.variable(f"[{len(words)} x i64]")
    for k, word in enumerate(words):
        f.set("i64", f.at(table, k, "i64"), word - (1 << 64) if word >> 63 else word)
    with f.loop(0, x.lanes) as lane:
        value = Vector(f, x.isa, x.kind, 1, f.value(f"load {x.kind}, ptr {f.at(given, lane, x.kind)}"))
        with f.when(value.abs().compare("ogt", _LARGEST[x.kind]).name):
            quadrant, rest = _payne_hanek(value.convert("fpext", "double"), table)
            quadrant = quadrant.convert("trunc", kind)
            rest = rest.convert("fptrunc", x.kind)
            f.set(kind, f.at(quadrant_slot, lane, kind), quadrant.name)
            f.set(x.kind, f.at(rest_slot, lane, x.kind), rest.name)


def _payne_hanek(x: Vector, table: str) -> tuple[Vector, Vector]:
    """(quadrant, r) of one double: its 53-bit mantissa times the 192 bits of 2/pi that matter, in fixed point."""
    f = x.f
    bits = x.bits("i64")
    exponent = ((bits >> 52) & 0x7FF) - 1075
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    # Bits of 2/pi worth 4 and more after scaling by 2**exponent drop out; two zero words stand before the point.
    first = exponent + (128 - 2)
    index, shift = first >> 6, first & 63
    words = [bits.of(f.value(f"load i64, ptr {f.at(table, (index + k).name, 'i64')}")) for k in range(4)]
    aligned = [
        bits.of(
            f.call(
                "i64",
                "llvm.fshl.i64",
                f"i64 {words[k].name}",
                f"i64 {words[k + 1].name}",
                f"i64 {shift.name}",
            )
        )
        for k in range(3)
    ]
    wide = [a.convert("zext", "i192") for a in aligned]
    window = (wide[0] << 128) | (wide[1] << 64) | wide[2]
    product = window * mantissa.convert("zext", "i192")
    # The top two bits count quarter turns, rounded to nearest; what remains is a signed fraction of one.
    rounded = product + (1 << 189)
    quadrant = (rounded >> 190).convert("trunc", "i64")
    fraction = (product << 2) >> 64
    fraction = fraction.convert("trunc", "i128")
    negative = f.value(f"icmp slt i128 {fraction.name}, 0")
    flipped = f.value(f"sub i128 0, {fraction.name}")
    size = f.value(f"select i1 {negative}, i128 {flipped}, i128 {fraction.name}")
    r = _fraction_to_double(f, size)
    angle = Vector(f, x.isa, "double", 1, r) * 1.5707963267948966
    angle = angle.of(f.value(f"select i1 {negative}, double {(-angle).name}, double {angle.name}"))
    minus = bits.compare("slt", 0)
    infinite = x.abs().compare("olt", float("inf"))
    angle = infinite.choose(minus.choose(-angle, angle), angle.splat(float("nan")))
    return minus.choose(-quadrant, quadrant), angle


def _fraction_to_double(f: Function, size: str) -> str:
    """The i128 fixed-point fraction (128 bits after the point) as a double."""
    zeros = f.call("i128", "llvm.ctlz.i128", f"i128 {size}", "i1 false")
    normal = f.value(f"shl i128 {size}, {zeros}")
    top = f.value(f"trunc i128 {f.value(f'lshr i128 {normal}, 65')} to i64")
    value = f.value(f"sitofp i64 {top} to double")
    count = f.value(f"trunc i128 {zeros} to i64")
    # value / 2**63 * 2**-zeros, the power made of its exponent bits.
    exponent = f.value(f"sub i64 {1023 - 63}, {count}")
    scale = f.value(f"bitcast i64 {f.value(f'shl i64 {exponent}, 52')} to double")
    scaled = f.value(f"fmul double {value}, {scale}")
    empty = f.value(f"icmp eq i128 {size}, 0")
    return f.value(f"select i1 {empty}, double {f64_constant(0.0)}, double {scaled}")
