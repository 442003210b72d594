"""Sum of squares over axes."""

import numpy as np

from engineworks.ir import example, f32, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx


@op("reduce_sum_square")
class ReduceSumSquare(NumpyReduction):
    """Σ x² over `axes` (empty: all)."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "sum"

    def before(self, x: Scalar) -> Scalar:
        return x * x

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.sum(x * x, axis=axes, keepdims=True, dtype=x.dtype)

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )


reduction_from_onnx("ReduceSumSquare", "reduce_sum_square", alone=lambda g, x: g.mul(x, x))
