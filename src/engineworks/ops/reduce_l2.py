"""Euclidean norm over axes."""

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import example, f32, i64, op
from engineworks.ir.scalar import Scalar, apply, cast
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx


@op("reduce_l2")
class ReduceL2(NumpyReduction):
    """√(Σ x²) over `axes` (empty: all); of integers rounded toward zero."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "sum"

    def before(self, x: Scalar) -> Scalar:
        return x * x

    def after(self, total: Scalar, count: Scalar) -> Scalar:
        if total.dtype.is_float:
            return apply("sqrt", total)
        return cast(apply("sqrt", cast(total, dtypes.f64)), total.dtype)

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.sqrt(np.sum(x * x, axis=axes, keepdims=True, dtype=x.dtype))

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )


reduction_from_onnx("ReduceL2", "reduce_l2", alone=lambda g, x: g.abs(x))
