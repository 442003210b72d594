"""How matrix units multiply two element types: what the operands become, what they are summed in, how fast it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ops._product_types import is_byte

Precision = Literal["", "tf32", "tf32x3", "ieee", "fp8"]
_RATES: dict[Precision, float] = {"": 1.0, "tf32": 0.5, "tf32x3": 0.15, "ieee": 0.04, "fp8": 1.8}
"""Multiplications a second as a part of those of fp16: as measured on an H200; fp32 outside of matrix units."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """One way.

    Attributes:
        operand: both operands have it when they are multiplied.
        sum: in which the products are summed.
        precision: of fp32 operands; 'tf32x3' is three products of tf32, nearly as exact as 'ieee'.
        is_loose: less exact than the op asks for.
    """

    operand: DType
    sum: DType
    precision: Precision = ""
    is_loose: bool = False

    @property
    def rate(self) -> float:
        """Multiplications a second as a part of those of fp16."""
        if self.operand is dtypes.f64:
            return 0.07
        return 1.3 if self.operand is dtypes.i8 else _RATES[self.precision]

    @property
    def needs_registers(self) -> bool:
        """Operands or second sums are held in registers beside the sums."""
        return self.precision in ("tf32x3", "fp8") or self.sum is dtypes.f64

    @property
    def options(self) -> str:
        """Further arguments of tl.dot."""
        if self.operand is dtypes.i8:
            return ", out_dtype=tl.int32"
        if self.operand is dtypes.f64:
            return ", out_dtype=tl.float64"
        return f", input_precision='{self.precision}'" if self.operand is dtypes.f32 else ""


def arithmetics(left: DType, right: DType, gpu: Gpu, *, allow_tf32: bool) -> Iterator[Arithmetic]:
    """The ways to multiply; none where matrix units and their emulations do not know the types."""
    if left is right and left in (dtypes.f16, dtypes.bf16):
        yield Arithmetic(left, dtypes.f32)
    elif is_byte(left) and is_byte(right):
        yield Arithmetic(dtypes.i8, dtypes.i32)
    elif left is right is dtypes.f64:
        if gpu.capability < 100:  # the compiler has no f64 products for the matrix units of sm_100
            yield Arithmetic(dtypes.f64, dtypes.f64)
    elif left is right and left in (dtypes.f8e4m3, dtypes.f8e5m2):
        if gpu.has("fp8"):
            yield Arithmetic(left, dtypes.f32, "fp8")
    elif all(_widens_to_f32(t) for t in (left, right)):
        exact = all(t.is_float and t.bits == 16 for t in (left, right))  # their significands fit tf32's
        if exact or allow_tf32:
            yield Arithmetic(dtypes.f32, dtypes.f32, "tf32")
            return
        yield Arithmetic(dtypes.f32, dtypes.f32, "ieee")
        yield Arithmetic(dtypes.f32, dtypes.f32, "tf32x3", is_loose=True)


def _widens_to_f32(dtype: DType) -> bool:
    return is_byte(dtype) or (dtype.is_float and dtype.bits in (16, 32))
