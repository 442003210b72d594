"""Quantised numbers to floats: (x - zero point) scale."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_equal
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
    i32,
    op,
    u8,
)
from engineworks.ir.cases import Sample
from engineworks.ir.scalar import Scalar, cast
from engineworks.ops._onnx_types import dtype_attribute
from engineworks.ops._scales import check_scale, read_scale, spread
from engineworks.ops._torch_scales import scale_and_zero


@op("dequantize_linear")
class DequantizeLinear(Op):
    """(x - zero_point) scale as `dtype`.

    Args:
        x: an integer or 8-bit float tensor; scale: a number, a vector along `axis`, or with `block` > 0 one for
            each run of `block` elements along `axis`; zero_point (may be left out): as scale, of x's dtype.
    """

    dtype: DType = dtypes.f32
    axis: int = 1
    block: int = 0

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, scale = inputs[0], inputs[1]
        assert x is not None and scale is not None
        check_scale(x, scale, self.axis, self.block)
        return (TensorType(self.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, scale, zero = (*inputs, None)[:3]
        y = np.asarray(x).astype(np.float64)
        if zero is not None:
            y = y - spread(np.asarray(zero), y.shape, self.axis, self.block).astype(np.float64)
        return y * spread(np.asarray(scale), y.shape, self.axis, self.block).astype(np.float64)

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x = inputs[0](index)
        scale = cast(read_scale(inputs[1], types[1], index, self.axis, self.block), dtypes.f32)
        if len(inputs) > 2:
            zero = read_scale(inputs[2], types[2], index, self.axis, self.block)
            if x.dtype.is_float:
                return cast((cast(x, dtypes.f32) - cast(zero, dtypes.f32)) * scale, self.dtype)
            return cast(cast(cast(x, dtypes.i32) - cast(zero, dtypes.i32), dtypes.f32) * scale, self.dtype)
        return cast(cast(x, dtypes.f32) * scale, self.dtype)

    examples = (
        example(u8(2, 5, high=255), f32(values=2.0), u8(values=128)),
        example(
            Sample(dtypes.i8, ("N", 3), low=-128, high=127),
            f32(values=[0.1, 0.02, 0.03]),
            Sample(dtypes.i8, (3,), values=[1, -2, 3]),
            dims={"N": (1, 4)},
        ),
        example(i32(2, 8, low=-999, high=999), f32(2, 2, low=0.1, high=1), axis=1, block=4),
    )


@from_onnx("DequantizeLinear")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The dtype is `output_dtype`, else that of the scale."""
    x, dtype = n[0], n[1].type.dtype
    if n.attr("output_dtype", 0):
        dtype = dtype_attribute(n, "output_dtype", dtype)
    return g.dequantize_linear(
        *(v for v in n.inputs if v is not None),
        dtype=dtype,
        axis=0 if x.type.rank == 1 else n.attr("axis", 1),
        block=n.attr("block_size", 0),
    )


@from_torch(
    "quantized_decomposed.dequantize_per_tensor.default", "quantized_decomposed.dequantize_per_tensor.tensor"
)
@from_torch("quantized_decomposed.dequantize_per_channel.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("input")
    axis = normalize_axis(n.arg("axis"), x.type.rank) if "axis" in n.foreign.attributes else 1
    return g.dequantize_linear(x, *scale_and_zero(g, n, x.type.dtype), dtype=n.result_dtype(), axis=axis)


@from_torch("torchao.dequantize_affine.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """`block_size` says how many elements share a scale along each axis: all, one, or groups."""
    x, block = n.arg("input"), n.arg("block_size")
    scale, zero = g.cast_to(n.arg("scale"), dtypes.f32), n.arg("zero_point")
    split = [a for a, size in enumerate(x.type.shape) if not known_equal(size, block[a])]
    groups = [a for a in split if block[a] != 1]
    if (
        x.is_constant
        and len(groups) == 1
        and all(size == 1 for a, size in enumerate(block) if a != groups[0])
    ):
        given = [scale] if zero is None else [scale, g.cast_to(zero, x.type.dtype)]
        return g.dequantize_linear(x, *given, dtype=n.result_dtype(), axis=groups[0], block=block[groups[0]])
    if len(split) > 1 or groups:
        return g.cast_to(_by_blocks(g, x, block, scale, zero), n.result_dtype())
    shape = tuple(x.type.shape[a] for a in split)
    given = [g.reshape_to(scale, shape)]
    if zero is not None:
        given.append(g.reshape_to(g.cast_to(zero, x.type.dtype), shape))
    return g.dequantize_linear(x, *given, dtype=n.result_dtype(), axis=(*split, 0)[0])


def _by_blocks(g: GraphBuilder, x: Value, block: Sequence[Dim], scale: Value, zero: Value | None) -> Value:
    """(x - zero) scale in f32, each for a block of x."""
    pairs = [(size // b, b) for size, b in zip(x.type.shape, block, strict=True)]
    ones = tuple(d for count, _ in pairs for d in (count, 1))
    y = g.cast(g.reshape_to(x, tuple(d for pair in pairs for d in pair)), dtype=dtypes.f32)
    if zero is not None:
        y = g.sub(y, g.reshape_to(g.cast_to(zero, dtypes.f32), ones))
    return g.reshape_to(g.mul(y, g.reshape_to(scale, ones)), x.type.shape)
