"""Maximum over axes."""

from typing import Any

import numpy as np

from engineworks.core.dims import dim_max
from engineworks.ir import example, f32, i64, op
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx, unchanged
from engineworks.ops._torch_reductions import extreme_from_torch, reduction_from_torch


@op("reduce_max")
class ReduceMax(NumpyReduction):
    """The largest x over `axes` (empty: all); NaN when any is NaN; the lowest value over no elements."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "max"
    keeps_dims = True

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        return np.max(x, axis=axes, keepdims=True, initial=lowest)

    def fold_dims(self, a: Any, b: Any) -> Any:
        return dim_max(a, b)

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )


reduction_from_onnx("ReduceMax", "reduce_max", alone=unchanged, boolean="reduce_any")


reduction_from_torch("reduce_max", "aten.amax.default", "aten.max.default", boolean="reduce_any")
extreme_from_torch("reduce_max", "argmax", "reduce_any", "aten.max.dim")
