"""Logarithm of the sum over axes."""

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import example, f32, op
from engineworks.ir.scalar import Scalar, apply, cast
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx


@op("reduce_log_sum")
class ReduceLogSum(NumpyReduction):
    """log Σ x over `axes` (empty: all); -inf over no elements."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "sum"

    def after(self, total: Scalar, count: Scalar) -> Scalar:
        if total.dtype.is_float:
            return apply("log", total)
        return cast(apply("log", cast(total, dtypes.f64)), total.dtype)

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.log(np.sum(x, axis=axes, keepdims=True, dtype=x.dtype))

    examples = (
        example(f32(2, 5, 7, low=0.1, high=3), axes=(1,)),
        example(f32("N", 300, low=0.1, high=3), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
    )


reduction_from_onnx("ReduceLogSum", "reduce_log_sum", alone=lambda g, x: g.log(x))
