"""Matrix product over the last two axes, with numpy's broadcasting of the axes before them."""

from __future__ import annotations

import numpy as np

from engineworks.core.dims import known_equal
from engineworks.core.shapes import broadcast
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import Op, example, f32, f64, i32, op


@op("matmul")
class MatMul(Op):
    """out[..., m, n] = Σ_k a[..., m, k] * b[..., k, n].

    Args:
        a: [..., M, K], b: [..., K, N]; one dtype, at least 2-D (front ends add the axis that 1-D operands lack).
    Returns:
        [..., M, N] of that dtype. f16 and bf16 accumulate in f32; integers wrap around.
    """

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        a, b = inputs
        assert a is not None and b is not None, "matmul takes two operands"
        if a.rank < 2 or b.rank < 2:
            raise InvalidModel(f"operands {a} and {b}: both need at least two axes")
        if a.dtype is not b.dtype:
            raise InvalidModel(f"operands of different dtypes {a.dtype} and {b.dtype}; cast first")
        if a.dtype.kind not in ("float", "int", "uint"):
            raise InvalidModel(f"dtype {a.dtype} has no product and sum")
        if known_equal(a.shape[-1], b.shape[-2]) is False:
            raise InvalidModel(f"{a} @ {b}: the inner sizes {a.shape[-1]} and {b.shape[-2]} differ")
        batch = broadcast(a.shape[:-2], b.shape[:-2])
        return (TensorType(a.dtype, (*batch, a.shape[-2], b.shape[-1])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        a, b = (np.asarray(x) for x in inputs)
        wide = np.float64 if a.dtype.kind not in "iu" else a.dtype
        return np.matmul(a.astype(wide), b.astype(wide)).astype(a.dtype)

    examples = (
        example(f32(5, 7), f32(7, 3)),
        example(f32(33, 40), f32(40, 50, constant=True)),
        example(f32(2, 3, 9, 8), f32(3, 8, 17)),
        example(f32("N", 24), f32(24, 19, constant=True), dims={"N": (1, 5, 30)}),
        example(f32(2, "M", "K"), f32(2, "K", "N"), dims={"M": (1, 20), "K": (3, 18), "N": (1, 35)}),
        example(f32(1, 64), f32(64, 40, constant=True)),
        example(f64(4, 5), f64(5, 6)),
        example(i32(4, 5), i32(5, 6)),
    )
