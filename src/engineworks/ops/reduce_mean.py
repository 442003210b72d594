"""Mean over axes."""

import numpy as np

from engineworks.ir import example, f32, i64, op
from engineworks.ir.scalar import Scalar, cast
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx, unchanged
from engineworks.ops._torch_reductions import reduction_from_torch


@op("reduce_mean")
class ReduceMean(NumpyReduction):
    """Σ x / count over `axes` (empty: all); integers divide toward zero."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "sum"

    def after(self, total: Scalar, count: Scalar) -> Scalar:
        return total / cast(count, total.dtype)

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return (
            np.mean(x, axis=axes, keepdims=True)
            if x.dtype.kind == "f"
            else np.trunc(np.mean(x, axis=axes, keepdims=True))
        )

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )


reduction_from_onnx("ReduceMean", "reduce_mean", alone=unchanged)


reduction_from_torch("reduce_mean", "aten.mean.default", "aten.mean.dim")
