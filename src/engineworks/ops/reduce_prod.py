"""Product over axes."""

from typing import Any

import numpy as np

from engineworks.ir import example, f32, i64, op
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx, unchanged
from engineworks.ops._torch_reductions import reduction_from_torch


@op("reduce_prod")
class ReduceProd(NumpyReduction):
    """Π x over `axes` (empty: all); 1 over no elements. Integers wrap around."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "prod"
    keeps_dims = True

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.prod(x, axis=axes, keepdims=True, dtype=x.dtype)

    def fold_dims(self, a: Any, b: Any) -> Any:
        return a * b

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )


reduction_from_onnx("ReduceProd", "reduce_prod", alone=unchanged)


reduction_from_torch("reduce_prod", "aten.prod.default", "aten.prod.dim_int")
