"""What reductions share: their numpy meaning in f64, and ONNX's spelling of axes across opsets."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode, from_onnx
from engineworks.ir.graph import Value
from engineworks.ops._axes import axes_of
from engineworks.ops._kinds import Reduction

Elementwise = Callable[[GraphBuilder, Value], Value]


class NumpyReduction(Reduction):
    """A reduction whose reference is `fold`, a numpy reduction, in f64 for floats; `fold_dims` where Dims may come."""

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """x, f64 or integers, reduced over `axes`, which stay with size 1."""
        raise NotImplementedError

    def fold_dims(self, a: Any, b: Any) -> Any:
        """Two Dims combined."""
        raise NotImplementedError

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        axes = self.normal_axes(x.ndim)
        if x.dtype == object:
            kept = reduce(self._fold_dims_along, axes, x)
        else:
            kept = self.fold(x if x.dtype.kind in "iub" else x.astype(np.float64), axes)
        return kept if self.keepdims else np.squeeze(kept, axes)

    def _fold_dims_along(self, x: np.ndarray, axis: int) -> np.ndarray:
        return np.frompyfunc(self.fold_dims, 2, 1).reduce(x, axis=axis, keepdims=True)


def reduce_wide(g: GraphBuilder, name: str, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """The reduction called `name` over x; f16 and bf16 pass through f32, as squares and sums leave their range soon."""
    narrow = x.type.dtype.is_float and x.type.dtype.bits < 32
    made = getattr(g, name)(g.cast_to(x, dtypes.f32) if narrow else x, axes=axes, keepdims=keepdims)
    return g.cast_to(made, x.type.dtype)


def reduction_from_onnx(kind: str, name: str, *, alone: Elementwise, boolean: str | None = None) -> None:
    """Register ONNX's `kind` as our reduction `name`.

    Args:
        alone: what it does to single elements, for `noop_with_empty_axes` and for tensors of rank 0.
        boolean: the reduction that stands for it on booleans.
    """

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        x = n[0]
        axes = axes_of(n, 1) or ()
        if x.type.rank == 0 or (not axes and n.attr("noop_with_empty_axes", 0)):
            return alone(g, x)
        keepdims = bool(n.attr("keepdims", 1))
        if boolean is not None and x.type.dtype is dtypes.bool_:
            return getattr(g, boolean)(x, axes=axes, keepdims=keepdims)
        return reduce_wide(g, name, x, axes, keepdims)

    from_onnx(kind)(importer)


def unchanged(g: GraphBuilder, x: Value) -> Value:
    """x: what sums, products and extremes of single elements are."""
    return x
