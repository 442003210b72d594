"""Matrix product over the last two axes, with numpy's broadcasting of the axes before them."""

from __future__ import annotations

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import known_equal
from engineworks.core.dtypes import DType
from engineworks.core.shapes import broadcast
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import Op, bf16, example, f16, f32, f64, i8, i32, op, u8
from engineworks.ops._product_types import matmul_dtype


@op("matmul")
class MatMul(Op):
    """out[..., m, n] = Σ_k a[..., m, k] * b[..., k, n].

    Args:
        a: [..., M, K], b: [..., K, N]; at least 2-D (front ends add the axis that 1-D operands lack).
    Attributes:
        out_dtype: of the result; None: the operands', which is one then. f32 for floats of 16 and 32 bits in any pair,
            and for f32 by i8 or u8; i32 for i8 and u8 in any pair (exact).
        allow_tf32: kernels may round f32 factors to TF32 (10 bits of mantissa). The meaning stays that of f32.
    Returns:
        [..., M, N]. f16 and bf16 accumulate in f32; integers wrap around.
    """

    out_dtype: DType | None = None
    allow_tf32: bool = False

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        a, b = inputs
        assert a is not None and b is not None, "matmul takes two operands"
        if a.rank < 2 or b.rank < 2:
            raise InvalidModel(f"operands {a} and {b}: both need at least two axes")
        dtype = matmul_dtype(a.dtype, b.dtype, self.out_dtype)
        if a.dtype.kind not in ("float", "int", "uint"):
            raise InvalidModel(f"dtype {a.dtype} has no product and sum")
        if known_equal(a.shape[-1], b.shape[-2]) is False:
            raise InvalidModel(f"{a} @ {b}: the inner sizes {a.shape[-1]} and {b.shape[-2]} differ")
        batch = broadcast(a.shape[:-2], b.shape[:-2])
        return (TensorType(dtype, (*batch, a.shape[-2], b.shape[-1])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        a, b = (np.asarray(x) for x in inputs)
        out = a.dtype if self.out_dtype is None else self.out_dtype.numpy
        if a.dtype.kind in "iu":
            return np.matmul(a.astype(out), b.astype(out))
        total = np.matmul(a.astype(np.float64), b.astype(np.float64))
        return total if a.dtype == np.float64 else total.astype(out)

    examples = (
        example(f32(5, 7), f32(7, 3)),
        example(f32(33, 40), f32(40, 50, constant=True)),
        example(f32(2, 3, 9, 8), f32(3, 8, 17)),
        example(f32("N", 24), f32(24, 19, constant=True), dims={"N": (1, 5, 30)}),
        example(f32(2, "M", "K"), f32(2, "K", "N"), dims={"M": (1, 20), "K": (3, 18), "N": (1, 35)}),
        example(f32(1, 64), f32(64, 40, constant=True)),
        example(f64(4, 5), f64(5, 6)),
        example(i32(4, 5), i32(5, 6)),
        example(
            i8(9, 70, low=-128, high=127), i8(70, 33, low=-128, high=127, constant=True), out_dtype=dtypes.i32
        ),
        example(
            u8("N", 37, high=255),
            i8(37, 20, low=-128, high=127, constant=True),
            out_dtype=dtypes.i32,
            dims={"N": (1, 18)},
        ),
        example(u8(2, 5, 16, high=255), u8(2, 16, 7, high=255), out_dtype=dtypes.i32),
        example(bf16(17, 40), bf16(40, 33, constant=True), out_dtype=dtypes.f32),
        example(f16(5, 24), f16(24, 19), out_dtype=dtypes.f32),
        example(f32(1, 64), bf16(64, 40, constant=True), out_dtype=dtypes.f32),
        example(f32(3, 64), f16(64, 40, constant=True), out_dtype=dtypes.f32),
        example(
            f32("N", 37),
            i8(37, 40, low=-128, high=127, constant=True),
            out_dtype=dtypes.f32,
            dims={"N": (1, 20)},
        ),
        example(f32(9, 20), u8(20, 17, high=255, constant=True), out_dtype=dtypes.f32),
        example(f32(9, 20), i8(20, 17, low=-128, high=127), out_dtype=dtypes.f32),
    )
