"""Matrix product of rows that are brought to mean 0 and variance 1 on the way: a layer norm without a kernel."""

from __future__ import annotations

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import known_equal
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import GraphBuilder, Op, Value, bf16, example, f16, f32, op
from engineworks.ops._moments import centered, standardised, widened
from engineworks.ops._product_types import product_dtype


@op("normalised_matmul")
class NormalisedMatMul(Op):
    """out[..., n] = Σ_k (x[..., k] - mean) / √(variance + epsilon) * w[k, n], moments over the last axis of x.

    Args:
        x: [..., M, K], w: [K, N]; floats of 16 or 32 bits.
    Attributes:
        out_dtype: of the result; None: the operands', which is one then. f32 for any pair.
        allow_tf32: kernels may round f32 factors to TF32 (10 bits of mantissa). The meaning stays that of f32.
    Returns:
        [..., M, N]. f16 and bf16 are normalised and multiplied in f32. Kernels may subtract the mean after multiplying.
    """

    epsilon: float = 1e-5
    out_dtype: DType | None = None
    allow_tf32: bool = False

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, w = inputs
        assert x is not None and w is not None, "normalised_matmul takes two operands"
        if x.rank < 2 or w.rank != 2:
            raise InvalidModel(f"operands {x} and {w}: at least two axes, and a matrix")
        if not all(t.dtype.is_float and t.dtype.bits in (16, 32) for t in (x, w)):
            raise InvalidModel(f"operands {x} and {w}: floats of 16 or 32 bits are normalised and multiplied")
        if known_equal(x.shape[-1], w.shape[0]) is False:
            raise InvalidModel(f"{x} @ {w}: the inner sizes {x.shape[-1]} and {w.shape[0]} differ")
        dtype = product_dtype(x.dtype, w.dtype, self.out_dtype)
        return (TensorType(dtype, (*x.shape[:-1], w.shape[1])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, w = (np.asarray(v) for v in inputs)
        out = x.dtype if self.out_dtype is None else self.out_dtype.numpy
        total = standardised(x, (x.ndim - 1,), self.epsilon) @ w.astype(np.float64)
        return total if x.dtype == np.float64 else total.astype(out)

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        x, w = inputs
        assert x is not None and w is not None, "normalised_matmul takes two operands"
        _, low, variance = centered(g, widened(g, x), (x.type.rank - 1,))
        rows = g.mul(low, g.rsqrt(g.add(variance, self.epsilon)))
        sums = g.matmul(rows, w, out_dtype=dtypes.f32, allow_tf32=self.allow_tf32)
        return g.cast_to(sums, self.out_dtype or x.type.dtype)

    examples = (
        example(f32(5, 24), f32(24, 9, constant=True)),
        example(f32(2, 7, 40), f32(40, 33, constant=True), epsilon=1e-3),
        example(f16(2, 17, 32), f16(32, 48, constant=True), out_dtype=dtypes.f32),
        example(bf16("N", 64), bf16(64, 16, constant=True), out_dtype=dtypes.f32, dims={"N": (1, 20)}),
        example(f16(9, 24), f16(24, 16, constant=True)),
    )
