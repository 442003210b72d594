"""Floats to 8-bit (and 4- and 16-bit) numbers: round(x / scale) + zero point, saturated."""

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Reader,
    Value,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
    u8,
)
from engineworks.ir.cases import Sample
from engineworks.ir.scalar import Scalar, apply, cast, const
from engineworks.ops._moments import along_axis
from engineworks.ops._onnx_types import dtype_attribute
from engineworks.ops._scales import check_scale, read_scale, spread
from engineworks.ops._torch_scales import narrower_range, scale_and_zero

LARGEST_F8 = {
    dtypes.f8e4m3: 448.0, dtypes.f8e5m2: 57344.0,
    dtypes.f8e4m3fnuz: 240.0, dtypes.f8e5m2fnuz: 57344.0, dtypes.f4e2m1: 6.0,
}  # fmt: skip
"""Largest finite value (OCP 8-bit Floating Point and Microscaling Formats Specifications; ONNX for FNUZ)."""


@op("quantize_linear")
class QuantizeLinear(Op):
    """round(x / scale) + zero_point as `dtype`, halves to even, saturated; to 8-bit floats x / scale, rounded once.

    Args:
        x: float or i32; scale: a number, a vector along `axis`, or with `block` > 0 one for each run of `block`
            elements along `axis`; zero_point (may be left out): as scale, of `dtype`.
        saturate: of 8-bit floats, as in `cast`.
    The division is done in f32, or in f64 when x is f64.
    """

    dtype: DType
    axis: int = 1
    block: int = 0
    saturate: bool = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, scale = inputs[0], inputs[1]
        assert x is not None and scale is not None
        check_scale(x, scale, self.axis, self.block)
        return (TensorType(self.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, scale, zero = (*inputs, None)[:3]
        x = np.asarray(x)
        wide = np.float64 if x.dtype == np.float64 else np.float32
        y = x.astype(wide) / spread(np.asarray(scale), x.shape, self.axis, self.block).astype(wide)
        if self.dtype.is_float:
            largest = LARGEST_F8[self.dtype]
            return (np.clip(y, -largest, largest) if self.saturate else y).astype(self.dtype.numpy)
        if zero is not None:
            y = np.rint(y) + spread(np.asarray(zero), x.shape, self.axis, self.block).astype(wide)
        low, high = bounds_of(self.dtype)
        return np.clip(np.rint(y), low, high).astype(self.dtype.numpy)

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x = inputs[0](index)
        wide = dtypes.f64 if x.dtype is dtypes.f64 else dtypes.f32
        y = cast(x, wide) / cast(read_scale(inputs[1], types[1], index, self.axis, self.block), wide)
        if self.dtype.is_float:
            largest = LARGEST_F8[self.dtype]
            return cast(_clipped(y, -largest, largest) if self.saturate else y, self.dtype)
        y = apply("round_even", y)
        if len(inputs) > 2:
            y = y + cast(read_scale(inputs[2], types[2], index, self.axis, self.block), wide)
        return cast(_clipped(y, *bounds_of(self.dtype)), self.dtype)

    examples = (
        example(f32(2, 5, low=-300, high=300), f32(values=2.0), u8(values=128), dtype=dtypes.u8),
        example(
            f32("N", 3),
            f32(values=[0.1, 0.02, 0.03]),
            Sample(dtypes.i8, (3,), values=[1, -2, 3]),
            dtype=dtypes.i8,
            dims={"N": (1, 4)},
        ),
        example(f32(2, 8), f32(2, 2, low=0.1, high=1), dtype=dtypes.i8, axis=1, block=4),
    )


def bounds_of(dtype: DType) -> tuple[int, int]:
    """Lowest and highest value of an integer dtype."""
    info = ml_dtypes.iinfo(dtype.numpy)
    return int(info.min), int(info.max)


def _clipped(x: Scalar, low: float, high: float) -> Scalar:
    return apply("min", apply("max", x, const(low, x.dtype)), const(high, x.dtype))


@from_onnx("QuantizeLinear")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The dtype is that of the zero point, else `output_dtype`, else u8."""
    dtype = n[2].type.dtype if n[2] is not None else dtypes.u8
    if n[2] is None and n.attr("output_dtype", 0):
        dtype = dtype_attribute(n, "output_dtype", dtypes.u8)
    x = n[0]
    return g.quantize_linear(
        *(v for v in n.inputs if v is not None),
        dtype=dtype,
        axis=0 if x.type.rank == 1 else n.attr("axis", 1),
        block=n.attr("block_size", 0),
        saturate=bool(n.attr("saturate", 1)),
    )


@from_torch(
    "quantized_decomposed.quantize_per_tensor.default", "quantized_decomposed.quantize_per_tensor.tensor"
)
@from_torch("quantized_decomposed.quantize_per_channel.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """A range narrower than the dtype limits the numbers before they are quantised."""
    dtype = n.arg("dtype")
    scale, *zero = scale_and_zero(g, n, dtype)
    x = n.arg("input")
    axis = normalize_axis(n.arg("axis"), x.type.rank) if "axis" in n.foreign.attributes else 1
    limits = narrower_range(n, dtype)
    if limits is not None:
        x = _limited(g, x, scale, zero, limits, axis)
    return g.quantize_linear(x, scale, *zero, dtype=dtype, axis=axis)


def _limited(
    g: GraphBuilder, x: Value, scale: Value, zero: list[Value], limits: tuple[int, int], axis: int
) -> Value:
    """x between the numbers that the limits stand for."""
    lowest, highest = (
        g.mul(g.sub(g.constant(limit, scale.type.dtype), g.cast(zero[0], dtype=scale.type.dtype)), scale)
        if zero
        else g.mul(scale, float(limit))
        for limit in limits
    )
    if scale.type.rank:
        lowest, highest = (along_axis(g, v, axis, x.type.rank) for v in (lowest, highest))
    return g.min(g.max(x, g.cast_to(lowest, x.type.dtype)), g.cast_to(highest, x.type.dtype))
