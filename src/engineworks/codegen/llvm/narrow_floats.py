"""Floats of eight bits and fewer: rounding to their grids, codes to f32 and back, as numpy's twins (ml_dtypes) do.

Formats: OCP 8-bit Floating Point Specification (E4M3, E5M2), OCP Microscaling Formats (E2M1), and the FNUZ variants
of ONNX, which have no infinities, no -0, and NaN at -0's code.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm.vector import Vector


@dataclass(frozen=True, slots=True)
class NarrowFloat:
    """A format: sign, exponent, `mantissa` bits, in `bits` all together.

    Attributes:
        bias: of the exponent.
        largest: finite value.
        beyond: what rounding gives above it.
        nan: code of NaN without its sign; None: there is none, NaN becomes a zero.
        is_unsigned_zero: -0 is NaN's code, so zeros lose their sign.
    """

    bits: int
    mantissa: int
    bias: int
    largest: float
    beyond: float
    nan: int | None
    is_unsigned_zero: bool = False

    @property
    def least(self) -> int:
        """Exponent of the smallest value above zero."""
        return 1 - self.bias - self.mantissa

    def round(self, value: Vector) -> Vector:
        """The f32 vector rounded to nearest even on the grid."""
        size = value.abs()
        drop = 23 - self.mantissa
        bits = size.bits("i32")
        normal = ((bits + ((bits >> drop) & 1) + ((1 << (drop - 1)) - 1)) & -(1 << drop)).bits("float")
        magic = 1.5 * 2.0 ** (23 + self.least)
        small = (size + magic) - magic
        out = size.compare("olt", 2.0 ** (self.least + self.mantissa)).choose(small, normal)
        out = out.compare("ogt", self.largest).choose(out.splat(self.beyond), out)
        nan = size.compare("uno", size)
        if self.nan is None:  # a zero of the other sign, as ml_dtypes gives
            return nan.choose(size.splat(0.0).copysign(-value), out.copysign(value))
        signed = nan.choose(size, out).copysign(value)
        return signed + 0.0 if self.is_unsigned_zero else signed

    def encode(self, value: Vector) -> Vector:
        """Codes of an f32 vector on the grid, in bytes."""
        size, bits = value.abs(), value.bits("i32")
        normal = ((bits & 0x7FFFFFFF) >> (23 - self.mantissa)) - ((127 - self.bias) << self.mantissa)
        small = (size * 2.0**-self.least).convert("fptosi", "i32")
        code = size.compare("olt", 2.0 ** (self.least + self.mantissa)).choose(small, normal)
        sign = (bits >> (32 - self.bits)) & (1 << (self.bits - 1))
        nan = size.compare("uno", size)
        if self.is_unsigned_zero:
            code = size.compare("oeq", 0.0).choose(code.splat(0), code | sign)
            code = nan.choose(code.splat(1 << (self.bits - 1)), code)
        else:
            code = (code if self.nan is None else nan.choose(code.splat(self.nan), code)) | sign
        return code.convert("trunc", "i8")

    def decode(self, value: Vector) -> Vector:
        """The f32 vector of codes in bytes; bits above the format's are ignored."""
        wide = value.convert("zext", "i32")
        code = wide & ((1 << (self.bits - 1)) - 1)
        normal = ((code << (23 - self.mantissa)) + ((127 - self.bias) << 23)).bits("float")
        small = code.convert("sitofp", "float") * 2.0**self.least
        size = code.compare("ult", 1 << self.mantissa).choose(small, normal)
        if self.nan is not None and not self.is_unsigned_zero:
            size = code.compare("eq", self.nan).choose(size.splat(float("nan")), size)
        signed = size.copysign((wide << (32 - self.bits)).bits("float"))
        if self.is_unsigned_zero:
            return wide.compare("eq", 1 << (self.bits - 1)).choose(signed.splat(float("nan")), signed)
        return signed


@dataclass(frozen=True, slots=True)
class Half(NarrowFloat):
    """E5M2: the upper half of an f16, which has its exponent, infinities and NaN."""

    def encode(self, value: Vector) -> Vector:
        """The f16's upper byte."""
        return (value.convert("fptrunc", "half").bits("i16") >> 8).convert("trunc", "i8")

    def decode(self, value: Vector) -> Vector:
        """The f16 whose upper byte this is."""
        return (value.convert("zext", "i16") << 8).bits("half").convert("fpext", "float")


@dataclass(frozen=True, slots=True)
class Powers(NarrowFloat):
    """E8M0: an f32's exponent alone, so powers of two from 2**-127; no sign, no zero, NaN at the last code."""

    def round(self, value: Vector) -> Vector:
        """To the nearest power, ties up; zero and what is negative become NaN."""
        bits = value.bits("i32")
        normal = (bits + (1 << 22)) & -(1 << 23)
        # 2**-127 is an f32 below the normal range; between it and the next power ml_dtypes rounds up.
        small = bits.compare("sle", 1 << 22).choose(bits.splat(1 << 22), 1 << 23)
        out = bits.compare("ult", 1 << 23).choose(small, normal).bits("float")
        inside = value.compare("ogt", 0.0)
        out = out.compare("olt", float("inf")).choose(out, float("nan"))
        return inside.choose(out, float("nan"))

    def encode(self, value: Vector) -> Vector:
        """The exponent."""
        return (value.bits("i32") >> 23).convert("trunc", "i8")

    def decode(self, value: Vector) -> Vector:
        """The f32 with this exponent."""
        wide = value.convert("zext", "i32")
        size = wide.compare("eq", 0).choose(wide.splat(1 << 22), wide << 23).bits("float")
        return wide.compare("eq", self.nan or 0).choose(size.splat(float("nan")), size)


NAN, INF = float("nan"), float("inf")
NARROW_FLOATS = {
    "f8e4m3": NarrowFloat(8, 3, 7, 448.0, NAN, 0x7F),
    "f8e5m2": Half(8, 2, 15, 57344.0, INF, 0x7E),
    "f8e4m3fnuz": NarrowFloat(8, 3, 8, 240.0, NAN, 0, True),
    "f8e5m2fnuz": NarrowFloat(8, 2, 16, 57344.0, NAN, 0, True),
    "f8e8m0": Powers(8, 0, 127, 2.0**127, NAN, 0xFF),
    "f4e2m1": NarrowFloat(4, 1, 1, 6.0, 6.0, None),
}
"""Formats by the dtype's name."""
