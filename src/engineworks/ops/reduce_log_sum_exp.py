"""Logarithm of the sum of exponentials over axes."""

import numpy as np

from engineworks.core.types import TensorType
from engineworks.ir import GraphBuilder, Op, Value, example, f32, op
from engineworks.ops._kinds import reduced_shape
from engineworks.ops._reductions import reduction_from_onnx, unchanged
from engineworks.ops._torch_reductions import reduction_from_torch


@op("reduce_log_sum_exp")
class ReduceLogSumExp(Op):
    """log Σ exp x over `axes` (empty: all), without overflow; -inf over no elements."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True

    def _axes(self, rank: int) -> tuple[int, ...]:
        return tuple(sorted(a % rank for a in self.axes)) if self.axes else tuple(range(rank))

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(x.dtype, reduced_shape(x.shape, self._axes(x.rank), self.keepdims)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0], np.float64)
        return np.asarray(
            np.logaddexp.reduce(x, axis=self._axes(x.ndim), keepdims=self.keepdims, initial=-np.inf)
        )

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        """The maximum is taken out first; where it is infinite, 0 is, as inf - inf is NaN."""
        (x,) = inputs
        assert x is not None
        axes = self._axes(x.type.rank)
        highest = g.reduce_max(x, axes=axes, keepdims=True)
        taken = g.where(g.is_inf(highest), g.constant(0, x.type.dtype), highest)
        total = g.reduce_sum(g.exp(g.sub(x, taken)), axes=axes, keepdims=self.keepdims)
        back = taken if self.keepdims else g.reshape_to(taken, total.type.shape)
        return g.add(g.log(total), back)

    examples = (
        example(f32(2, 5, 7, low=-50, high=50), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
    )


reduction_from_onnx("ReduceLogSumExp", "reduce_log_sum_exp", alone=unchanged)


reduction_from_torch("reduce_log_sum_exp", "aten.logsumexp.default")
