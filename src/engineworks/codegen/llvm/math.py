"""Elementary functions on float and double vectors, without libm: range reduction and the polynomials of math_tables.

Errors measured against numpy in f64 and mpmath are in tests/unit/codegen/test_math.py: f32 at most 4 ulp, f64 2 ulp
(pow 8). NaN in gives NaN out; infinities and signed zeros are as in C.
"""

from __future__ import annotations

import math

from engineworks.codegen.llvm import math_tables as tables
from engineworks.codegen.llvm.math_trig import cos, sin, tan
from engineworks.codegen.llvm.vector import Vector

__all__ = ["acos", "asin", "atan", "cos", "erf", "exp", "expm1", "log", "log1p", "modulo", "power", "remainder",
           "sigmoid", "sin", "tan", "tanh"]  # fmt: skip

_INFINITY = float("inf")
# Below the first e**x rounds to zero, above the second to infinity.
_EXP_RANGE = {"float": (-103.98, 89.0), "double": (-745.14, 710.0)}
_MANTISSA = {"float": 23, "double": 52}
_BIAS = {"float": 127, "double": 1023}
_INTEGER = {"float": "i32", "double": "i64"}


# -- powers of two --------------------------------------------------------------------------------------------
def _to_integer(n: Vector) -> Vector:
    """A float vector of small integers as integers of the same width; AVX2 has no f64 to i64 conversion."""
    if n.kind == "float":
        return n.convert("fptosi", "i32")
    magic = 6755399441055744.0  # 1.5 * 2**52: the sum's low bits are the integer
    return (n + magic).bits("i64") - n.splat(magic).bits("i64")


def _to_float(n: Vector) -> Vector:
    """Small signed integers as floats of the same width."""
    if n.kind == "i32":
        return n.convert("sitofp", "float")
    magic = 6755399441055744.0
    return (n + n.of("", "double").splat(magic).bits("i64")).bits("double") - magic


def _two_to(n: Vector, kind: str) -> Vector:
    """2**n for integers in the normal range, as floats."""
    return ((n + _BIAS[kind]) << _MANTISSA[kind]).bits(kind)


def _scale(x: Vector, n: Vector) -> Vector:
    """x * 2**n for a float vector n of integers, right through overflow and denormals."""
    if x.isa.name == "avx512" and x.lanes * (32 if x.kind == "float" else 64) == 512:
        width, suffix = (16, "ps") if x.kind == "float" else (8, "pd")
        text = [
            f"{x.type} {x.name}",
            f"{x.type} {n.name}",
            f"{x.type} zeroinitializer",
            f"i{width} -1",
            "i32 4",
        ]
        return x.of(x.f.call(x.type, f"llvm.x86.avx512.mask.scalef.{suffix}.512", *text))
    whole = _to_integer(n)
    half = whole.instruction("ashr", 1)
    return x * _two_to(half, x.kind) * _two_to(whole - half, x.kind)


def _reduce_exp(x: Vector) -> tuple[Vector, Vector]:
    """(n, r) with x = n * ln 2 + r, |r| <= ln(2) / 2, n integral."""
    n = (x * tables.LOG2_E).intrinsic("rint")
    high, low = tables.LN2[x.kind]
    return n, n.fma(-low, n.fma(-high, x))


def exp(x: Vector) -> Vector:
    """e**x."""
    low, high = _EXP_RANGE[x.kind]
    # Underflow to zero is chosen, not computed: every tiny result costs a microcode assist, and masks make many.
    vanishes = x.compare("olt", low)
    n, r = _reduce_exp(vanishes.choose(x.splat(0.0), x).at_most(high))
    return vanishes.choose(x.splat(0.0), _scale(r.polynomial((*tables.EXP[x.kind], 1.0, 1.0)), n))


def expm1(x: Vector) -> Vector:
    """e**x - 1, accurate near zero."""
    high = _EXP_RANGE[x.kind][1]
    n, r = _reduce_exp(x.at_least(-25.0 if x.kind == "float" else -50.0).at_most(high))
    small = (r * r).fma(r.polynomial(tables.EXP[x.kind]), r)
    # 2**n * small + (2**n - 1), doubled at the end because 2**n itself may overflow.
    scale = _two_to(_to_integer(n) - 1, x.kind)
    half = scale.fma(small, scale - 0.5)
    return (half + half).copysign(x)


def sigmoid(x: Vector) -> Vector:
    """1 / (1 + e**-x)."""
    return 1.0 / (exp(-x) + 1.0)


def tanh(x: Vector) -> Vector:
    """f32: a rational form; f64: through expm1."""
    if x.kind == "float":
        clamped = x.at_least(-9.02).at_most(9.02)
        square = clamped * clamped
        top, bottom = tables.TANH_F32
        return (square.polynomial(top) * clamped / square.polynomial(bottom)).at_most(1.0).at_least(-1.0)
    power = expm1(x.abs().at_most(22.0) * 2.0)
    return (power / (power + 2.0)).copysign(x)


def erf(x: Vector) -> Vector:
    """The error function."""
    if x.kind == "float":
        size = x.abs().at_most(3.925)
        square = size * size
        top, bottom = tables.ERF_F32
        return (square.polynomial(top) * size / square.polynomial(bottom)).at_most(1.0).copysign(x)
    size = x.abs().at_most(6.0)
    square = size * size
    near = square.polynomial(tables.ERF_NEAR_F64) * size
    far = 1.0 - ((size - 2.0) / (size + 2.0)).polynomial(tables.ERF_FAR_F64) * exp(-square)
    return size.compare("ogt", 1.0).choose(far, near).copysign(x)


# -- logarithms -----------------------------------------------------------------------------------------------
def _split(x: Vector) -> tuple[Vector, Vector]:
    """(e, f): x = 2**e * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for positive finite x; e is a float."""
    kind, bits = _INTEGER[x.kind], _MANTISSA[x.kind]
    tiny = x.compare("olt", 2.0 ** (1 - _BIAS[x.kind]))
    x = tiny.choose(x * 2.0**bits, x)
    raw = x.bits(kind)
    root_half = raw.of("", x.kind).splat(math.sqrt(0.5)).bits(kind)
    offset = raw - root_half
    exponent = offset.instruction("ashr", bits)
    mantissa = (raw - (exponent << bits)).bits(x.kind)
    shift = tiny.choose(exponent.splat(-bits), 0)
    return _to_float(exponent + shift), mantissa - 1.0


def _log_special(x: Vector, value: Vector) -> Vector:
    """The logarithm with the right values for 0, infinity, NaN and negative numbers."""
    value = x.compare("oeq", 0.0).choose(value.splat(-_INFINITY), value)
    value = x.compare("olt", _INFINITY).choose(value, x)
    return x.compare("olt", 0.0).choose(value.splat(float("nan")), value)


def log(x: Vector) -> Vector:
    """The natural logarithm."""
    exponent, f = _split(x)
    high, low = tables.LN2[x.kind]
    half_square = f * f * 0.5
    if x.kind == "float":
        tail = exponent.fma(low, f * f * f * f.polynomial(tables.LOG_F32))
    else:
        s = f / (f + 2.0)
        z = s * s
        tail = exponent.fma(low, s * (half_square + z * z.polynomial(tables.LOG_F64)))
    value = exponent.fma(high, f - (half_square - tail))
    return _log_special(x, value)


def log1p(x: Vector) -> Vector:
    """log(1 + x): the logarithm of the rounded sum, and a correction for what rounding lost."""
    u = x + 1.0
    lost = (x - (u - 1.0)) / u
    value = log(u)
    usable = u.abs().compare("olt", _INFINITY) & u.compare("ogt", 0.0)
    return (value + usable.choose(lost, 0.0)).copysign(x)


# -- inverse trigonometric ------------------------------------------------------------------------------------
def _odd(x: Vector, coefficients: tuple[float, ...]) -> Vector:
    """x + x**3 * P(x**2)."""
    square = x * x
    return (x * square).fma(square.polynomial(coefficients), x)


def atan(x: Vector) -> Vector:
    """Arc tangent: |x| folded into [-tan(pi/8), tan(pi/8)] by one division."""
    size = x.abs()
    large, middle = size.compare("ogt", math.tan(3 * math.pi / 8)), size.compare("ogt", math.tan(math.pi / 8))
    top = large.choose(size.splat(-1.0), middle.choose(size - 1.0, size))
    bottom = large.choose(size, middle.choose(size + 1.0, 1.0))
    reduced = top / bottom
    pi_high, pi_low = tables.HALF_PI[x.kind][:2]
    offset = large.choose(x.splat(pi_high), middle.choose(x.splat(pi_high / 2), 0.0))
    rest = large.choose(x.splat(pi_low), middle.choose(x.splat(pi_low / 2), 0.0))
    return (offset + (_odd(reduced, tables.ATAN[x.kind]) + rest)).copysign(x)


def _asin_parts(x: Vector) -> tuple[Vector, Vector]:
    """(far, v): asin|x| is v where not far, and pi/2 - 2 v where far."""
    size = x.abs()
    far = size.compare("ogt", 0.5)
    argument = far.choose(((1.0 - size) * 0.5).intrinsic("sqrt"), size)
    return far, _odd(argument, tables.ASIN[x.kind])


def asin(x: Vector) -> Vector:
    """Arc sine; NaN outside of [-1, 1]."""
    high, low = tables.HALF_PI[x.kind][:2]
    far, v = _asin_parts(x)
    return far.choose(high - (v + v - low), v).copysign(x)


def acos(x: Vector) -> Vector:
    """Arc cosine; NaN outside of [-1, 1]."""
    high, low = tables.HALF_PI[x.kind][:2]
    far, v = _asin_parts(x)
    twice = v + v
    negative = x.compare("olt", 0.0)
    outer = negative.choose(high - (twice - low) + high + low, twice)
    return far.choose(outer, high - (v.copysign(x) - low))


# -- powers ---------------------------------------------------------------------------------------------------
def power(x: Vector, y: Vector) -> Vector:
    """x**y with C's rules for zeros, infinities, NaN and negative bases."""
    easy = _easy_power(x, y)
    if easy is not None:
        return easy
    if x.kind == "float":
        wide = _positive_power(x.abs().convert("fpext", "double"), y.convert("fpext", "double"), exact=False)
        size = wide.convert("fptrunc", "float")
    else:
        size = _positive_power(x.abs(), y, exact=True)
    whole = y.intrinsic("rint").compare("oeq", y)
    half = y * 0.5
    odd = whole & half.intrinsic("rint").compare("une", half)
    negative = x.bits(_INTEGER[x.kind]).compare("slt", 0)
    size = (negative & odd).choose(-size, size)
    impossible = (
        x.compare("olt", 0.0)
        & x.compare("ogt", -_INFINITY)
        & whole.compare("eq", 0)
        & y.abs().compare("olt", _INFINITY)
    )
    size = impossible.choose(size.splat(float("nan")), size)
    one = y.compare("oeq", 0.0) | x.compare("oeq", 1.0)
    return one.choose(size.splat(1.0), size)


def _easy_power(x: Vector, y: Vector) -> Vector | None:
    """Constant exponents that need no logarithm."""
    for exponent, made in ((1.0, lambda: x), (2.0, lambda: x * x), (3.0, lambda: x * x * x), (-1.0, lambda: 1.0 / x),
                           (0.0, lambda: x.splat(1.0))):  # fmt: skip
        if y.name == x.splat(exponent).name:
            return made()
    if y.name == x.splat(0.5).name:
        # (-0)**0.5 is +0 and (-inf)**0.5 is +inf.
        root = (x + 0.0).intrinsic("sqrt")
        return x.compare("oeq", -_INFINITY).choose(x.splat(_INFINITY), root)
    return None


def _positive_power(x: Vector, y: Vector, *, exact: bool) -> Vector:
    """x**y for x >= 0 in f64; `exact` carries the logarithm in two parts, else it is good for an f32 result."""
    if not exact:
        product = y * log(x)
        value = exp(product)
    else:
        high, low = _log_in_two(x)
        product = y * high
        rest = y.fma(high, -product) + y * low
        usable = product.abs().compare("olt", 1000.0)
        value = exp(product)
        value = usable.choose(value.fma(rest, value), value)
    # 1**infinity: the logarithm 0 times infinity would give NaN.
    return (x.compare("oeq", 1.0) & y.compare("oeq", y)).choose(x.splat(1.0), value)


def _log_in_two(x: Vector) -> tuple[Vector, Vector]:
    """log(x) = high + low to about 2**-60 relative, for x >= 0."""
    exponent, f = _split(x)
    bottom = f + 2.0
    s = f / bottom
    # What the two roundings lost: f = s * (bottom + bottom_rest) + remainder.
    bottom_rest = f - (bottom - 2.0)
    s_rest = ((-s).fma(bottom, f) - s * bottom_rest) / bottom
    z = s * s
    tail = s * z * z.polynomial(tables.LOG_F64)
    ln2_high, ln2_low = tables.LN2["double"]
    start = exponent * ln2_high  # exact: few bits
    twice = s + s
    high, rest = _two_sum(start, twice)
    low = rest + (exponent * ln2_low + (tail + (s_rest + s_rest)))
    total, low = _two_sum(high, low)
    special = _log_special(x, total)
    return special, total.compare("oeq", special).choose(low, 0.0)


def _two_sum(a: Vector, b: Vector) -> tuple[Vector, Vector]:
    """(a + b rounded, what rounding lost), exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


# -- floating remainder ---------------------------------------------------------------------------------------
def remainder(x: Vector, y: Vector) -> Vector:
    """C's fmod, exact: quotients of at most 26 bits are taken off until less than |y| is left."""
    if x.kind == "float":
        wide = remainder(x.convert("fpext", "double"), y.convert("fpext", "double"))
        # The fence keeps LLVM from merging this with a later rounding to half, for which x86 calls libgcc.
        return wide.convert("fptrunc", "float").intrinsic("arithmetic.fence")
    f, size = x.f, y.abs()
    slot = f.variable(x.type, x.abs().name)
    again, body, done = f.fresh("fmod"), f.fresh("reduce"), f.fresh("reduced")
    f.line(f"br label %{again}")
    f.label(again)
    rest = x.of(f.get(x.type, slot))
    more = rest.abs().compare("oge", size) & rest.abs().compare("olt", _INFINITY) & size.compare("ogt", 0.0)
    f.line(f"br i1 {more.any()}, label %{body}, label %{done}")
    f.label(body)
    quotient = (rest / size).intrinsic("trunc")
    # Truncated to 26 bits the product with |y| leaves a remainder that f64 holds exactly.
    short = (quotient.bits("i64") & -(1 << 27)).bits("double")
    f.set(x.type, slot, more.choose((-short).fma(size, rest), rest).name)
    f.line(f"br label %{again}")
    f.label(done)
    rest = x.of(f.get(x.type, slot))
    rest = rest.compare("olt", 0.0).choose(rest + size, rest)
    usable = x.abs().compare("olt", _INFINITY) & size.compare("ogt", 0.0)
    return usable.choose(rest, x.splat(float("nan"))).copysign(x)


def modulo(x: Vector, y: Vector) -> Vector:
    """Python's %: the sign of the divisor."""
    rest = remainder(x, y)
    kind = _INTEGER[x.kind]
    other_sign = (rest.bits(kind) ^ y.bits(kind)).compare("slt", 0) & rest.compare("une", 0.0)
    value = other_sign.choose(rest + y, rest)
    return rest.compare("oeq", 0.0).choose(value.copysign(y), value)
