"""Sum over axes."""

from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, i64, op
from engineworks.ops._reductions import NumpyReduction, reduction_from_onnx, unchanged
from engineworks.ops._torch_reductions import axes_of_torch, reduced_torch, reduction_from_torch


@op("reduce_sum")
class ReduceSum(NumpyReduction):
    """Σ x over `axes` (empty: all); 0 over no elements. Integers wrap around."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "sum"
    keeps_dims = True

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.sum(x, axis=axes, keepdims=True, dtype=x.dtype)

    def fold_dims(self, a: Any, b: Any) -> Any:
        return a + b

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )


reduction_from_onnx("ReduceSum", "reduce_sum", alone=unchanged)


reduction_from_torch("reduce_sum", "aten.sum.default", "aten.sum.dim_IntList")


@from_torch("aten.count_nonzero.default", "aten.count_nonzero.dim_IntList")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = g.cast(g.cast_to(n.arg("self"), dtypes.bool_), dtype=dtypes.i64)
    return reduced_torch(g, "reduce_sum", x, axes_of_torch(n, x), False)
