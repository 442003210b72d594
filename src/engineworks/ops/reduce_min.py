"""Minimum over axes."""

from typing import Any

import numpy as np

from engineworks.core.dims import dim_min
from engineworks.ir import example, f32, i64, op
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx, unchanged
from engineworks.ops._torch_reductions import extreme_from_torch, reduction_from_torch


@op("reduce_min")
class ReduceMin(NumpyReduction):
    """The smallest x over `axes` (empty: all); NaN when any is NaN; the highest value over no elements."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "min"
    keeps_dims = True

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        highest = np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).max
        return np.min(x, axis=axes, keepdims=True, initial=highest)

    def fold_dims(self, a: Any, b: Any) -> Any:
        return dim_min(a, b)

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )


reduction_from_onnx("ReduceMin", "reduce_min", alone=unchanged, boolean="reduce_all")


reduction_from_torch("reduce_min", "aten.amin.default", "aten.min.default", boolean="reduce_all")
extreme_from_torch("reduce_min", "argmin", "reduce_all", "aten.min.dim")
