"""Conversion to another dtype."""

from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, f64, from_onnx, from_torch, i64, op
from engineworks.ir import scalar as language
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._onnx_types import dtype_attribute
from engineworks.ops._pointwise import DimPointwise
from engineworks.ops._product_types import is_byte

LARGEST_F8 = {
    dtypes.f8e4m3: 448.0, dtypes.f8e5m2: 57344.0,
    dtypes.f8e4m3fnuz: 240.0, dtypes.f8e5m2fnuz: 57344.0, dtypes.f4e2m1: 6.0,
}  # fmt: skip
"""Largest finite value (OCP 8-bit Floating Point and Microscaling Formats Specifications; ONNX for FNUZ)."""

LEAST_POWER, MOST_POWER = 2.0**-127, 2.0**127
"""Of f8e8m0."""


@op("cast")
class Cast(DimPointwise):
    """x as `dtype`: float to integer truncates, to bool is x != 0, float to float rounds to nearest even.

    Args:
        saturate: to 8-bit floats: what is out of range, infinities too, becomes the largest finite value; without
            it e4m3 gives NaN and e5m2 an infinity.
    """

    accepts = ("float", "int", "uint", "bool")
    dtype: DType
    saturate: bool = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        if self.dtype is dtypes.string:
            raise InvalidModel("numbers cannot be cast to strings here")
        return super().infer(*inputs)

    def output_dtype(self, dtype: DType) -> DType:
        return self.dtype

    def scalar(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        largest = LARGEST_F8.get(self.dtype)
        if largest is None or not self.saturate or x.dtype is self.dtype:
            return language.cast(x, self.dtype)
        wide = x if x.dtype.is_float and x.dtype.bits >= 32 else language.cast(x, dtypes.f32)
        inside = apply("min", apply("max", wide, const(-largest, wide.dtype)), const(largest, wide.dtype))
        return language.cast(inside, self.dtype)

    def on_dims(self, *dims: Any) -> Any:
        (x,) = dims
        if self.dtype is dtypes.bool_:
            return bool(x != 0 if isinstance(x, (int, np.integer)) else x > 0 or x < 0)
        return int(x) if isinstance(x, (bool, np.bool_)) else x

    examples = (
        example(f32(values=[-2.7, -0.5, 0.0, 0.5, 2.7]), dtype=dtypes.i32),
        example(i64("N", 3), dtype=dtypes.f32, dims={"N": (1, 4)}),
        example(f32(2, 5), dtype=dtypes.bool_),
        example(f32(2, 5), dtype=dtypes.f16),
        example(f64(2, 5), dtype=dtypes.bf16),
        example(f32(values=[1.0, 500.0, -1e9, 0.013]), dtype=dtypes.f8e4m3),
    )


def _import_cast(g: GraphBuilder, n: ForeignNode, dtype: DType) -> Value:
    x = n[0]
    if x.type.dtype is dtype:
        return x
    if dtypes.string in (dtype, x.type.dtype):
        raise n.unsupported(f"a cast from {x.type.dtype} to {dtype}; do it outside of the model")
    saturate = bool(n.attr("saturate", 1))
    if dtype is dtypes.f8e8m0:
        x = _on_powers(g, g.cast_to(x, dtypes.f32), n.attr("round_mode", "up"), saturate)
    return g.cast(x, dtype=dtype, saturate=saturate)


def _on_powers(g: GraphBuilder, x: Value, mode: str, saturate: bool) -> Value:
    """The positive f32s rounded to powers of two up or down; `cast` itself rounds to the nearest."""
    if saturate:
        x = g.min(g.max(x, LEAST_POWER), MOST_POWER)
    if mode == "nearest":
        return x
    bits = g.bit_cast(x, dtype=dtypes.i32)
    bits = g.bitwise_and(bits if mode == "down" else g.add(bits, (1 << 23) - 1), -(1 << 23))
    least = g.logical_and(g.greater(x, 0.0), g.less_or_equal(x, LEAST_POWER))
    return g.where(least, g.constant(np.float32(LEAST_POWER)), g.bit_cast(bits, dtype=dtypes.f32))


@from_onnx("Cast", since=6)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _import_cast(g, n, dtype_attribute(n, "to", dtypes.f32))


@from_onnx("CastLike")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _import_cast(g, n, n[1].type.dtype)


@from_torch(
    "aten._to_copy.default", "aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten.to.other"
)
@from_torch("aten.type_as.default", "prims.convert_element_type.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Devices, layouts and memory formats change nothing here. 8-bit floats do not saturate."""
    x = n[0]
    if n.result_dtype() is dtypes.f32 and x.type.rank > 1 and is_byte(x.type.dtype) and _is_stored(x):
        # Integers kept in bytes are quantised weights: products look for this before constants are folded.
        return g.dequantize_linear(x, g.constant(1, dtypes.f32))
    return x if x.type.dtype is n.result_dtype() else g.cast(x, dtype=n.result_dtype(), saturate=False)


def _is_stored(x: Value) -> bool:
    """A constant, or one that is only laid out anew."""
    while x.producer is not None and x.producer.op.name in ("transpose", "reshape"):
        x = x.producer.inputs[0]  # type: ignore[assignment]
    return x.is_constant
