"""Matmul workloads that cuBLASLt computes."""

from __future__ import annotations

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.ir.scalar import apply, argument, cast, const
from engineworks.ops.matmul import MatMul
from tests.unit.kernels.cuda.library_case import Case, tensor

M = symbol("M", 1, 4096)
F16, F32 = dtypes.f16, dtypes.f32
SUM16, SUM32 = argument(0, F16), argument(0, F32)
PLAIN, WIDE = MatMul(), MatMul(out_dtype=F32)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


CASES = (
    Case("plain", PLAIN, [tensor("f16", 5, 64), tensor("f16", 64, 48)], tensor("f16", 5, 48), np.matmul),
    Case("primes", PLAIN, [tensor("f16", 17, 31), tensor("f16", 31, 37)], tensor("f16", 17, 37), np.matmul),
    Case("one column", PLAIN, [tensor("f16", 9, 16), tensor("f16", 16, 1)], tensor("f16", 9, 1), np.matmul),
    Case("one row", PLAIN, [tensor("f16", 1, 40), tensor("f16", 40, 24)], tensor("f16", 1, 24), np.matmul),
    Case("depth of one", PLAIN, [tensor("f16", 8, 1), tensor("f16", 1, 24)], tensor("f16", 8, 24), np.matmul),
    Case(
        "bias and relu, dynamic rows", PLAIN,
        [tensor("f16", M, 64), tensor("f16", 64, 48), tensor("f16", 48)], tensor("f16", M, 48),
        lambda a, b, c: relu(a @ b + c), apply("max", SUM16 + argument(1, F16), const(0, F16)), ("channel",),
        constants=(1, 2), dims={"M": 33},
    ),
    Case(
        "bias and residual", PLAIN,
        [tensor("f16", 40, 64), tensor("f16", 64, 32), tensor("f16", 40, 32), tensor("f16", 32)],
        tensor("f16", 40, 32), lambda a, b, c, d: a @ b + c + d,
        (SUM16 + argument(2, F16)) + argument(1, F16), ("full", "channel"),
    ),
    Case(
        "relu of a residual", PLAIN,
        [tensor("f16", 40, 64), tensor("f16", 64, 32), tensor("f16", 40, 32)], tensor("f16", 40, 32),
        lambda a, b, c: relu(a @ b + c), apply("max", const(0, F16), argument(1, F16) + SUM16), ("full",),
    ),
    Case(
        "f32 sums, constant f32 bias, f16 result", WIDE,
        [tensor("f16", 24, 64), tensor("f16", 64, 32), tensor("f32", 32)], tensor("f16", 24, 32),
        lambda a, b, c: relu(a @ b + c),
        cast(apply("max", SUM32 + argument(1, F32), const(0, F32)), F16), ("channel",), constants=(1, 2),
    ),
    Case(
        "scaled", WIDE, [tensor("bf16", 24, 64), tensor("bf16", 64, 32)], tensor("f32", 24, 32),
        lambda a, b: a @ b * 0.125, SUM32 * 0.125, (), tolerance=1e-5,
    ),
    Case(
        "bf16 with f32 bias", WIDE, [tensor("bf16", 24, 64), tensor("bf16", 64, 32), tensor("f32", 32)],
        tensor("f32", 24, 32), lambda a, b, c: a @ b + c, SUM32 + argument(1, F32), ("channel",), tolerance=1e-5,
    ),
    Case("f32", PLAIN, [tensor("f32", 33, 65), tensor("f32", 65, 34)], tensor("f32", 33, 34), np.matmul),
    Case(
        "tf32", MatMul(allow_tf32=True), [tensor("f32", 33, 64), tensor("f32", 64, 36)], tensor("f32", 33, 36),
        np.matmul, tolerance=2e-3,
    ),
    Case("f64", PLAIN, [tensor("f64", 33, 65), tensor("f64", 65, 34)], tensor("f64", 33, 34), np.matmul),
    Case(
        "two batch axes", PLAIN, [tensor("f16", 2, 3, 5, 16), tensor("f16", 2, 3, 16, 8)],
        tensor("f16", 2, 3, 5, 8), np.matmul,
    ),
    Case(
        "batch of rows", PLAIN, [tensor("f16", 4, M, 16), tensor("f16", 16, 8)], tensor("f16", 4, M, 8), np.matmul,
        dims={"M": 7},
    ),
    Case(
        "shared left operand", PLAIN, [tensor("f16", 6, 16), tensor("f16", 3, 16, 8)], tensor("f16", 3, 6, 8),
        np.matmul,
    ),
    Case(
        "dynamic batch of transposed keys", PLAIN,
        [tensor("f16", M, 12, 16), tensor("f16", M, 16, 12, order=(0, 2, 1))], tensor("f16", M, 12, 12), np.matmul,
        dims={"M": 3},
    ),
    Case(
        "transposed operands", PLAIN, [tensor("f16", 24, 16, order=(1, 0)), tensor("f16", 16, 8, order=(1, 0))],
        tensor("f16", 24, 8), np.matmul,
    ),
    Case(
        "transposed result with bias", PLAIN,
        [tensor("f16", 24, 16), tensor("f16", 16, 40), tensor("f16", 24)], tensor("f16", 24, 40, order=(1, 0)),
        lambda a, b, c: a @ b + c[:, None], SUM16 + argument(1, F16), ("channel",),
    ),
    Case(
        "padded rows", PLAIN, [tensor("f16", 24, 16, pad=8), tensor("f16", 16, 40)],
        tensor("f16", 24, 40, pad=8), np.matmul,
    ),
    Case(
        "8-bit integers, constant weights", MatMul(out_dtype=dtypes.i32),
        [tensor("i8", M, 64), tensor("i8", 64, 32)], tensor("i32", M, 32), np.matmul, constants=(1,), dims={"M": 21},
    ),
    Case(
        "8-bit integers, depth innermost", MatMul(out_dtype=dtypes.i32),
        [tensor("i8", 24, 64), tensor("i8", 64, 32, order=(1, 0))], tensor("i32", 24, 32), np.matmul,
    ),
)  # fmt: skip
