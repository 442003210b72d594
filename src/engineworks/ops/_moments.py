"""What normalisations share: working in f32 or wider, two-pass moments, and parameters that lie along one axis."""

from __future__ import annotations

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value


def widened(g: GraphBuilder, x: Value) -> Value:
    """x in f32 when it is narrower."""
    return g.cast_to(x, dtypes.f32) if x.type.dtype.bits < 32 else x


def centered(g: GraphBuilder, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value, Value]:
    """(mean, x - mean, variance) over `axes`, which stay with size 1. The variance is that of x - mean, so that no
    difference of two large numbers is taken.
    """
    mean = g.reduce_mean(x, axes=axes, keepdims=True)
    low = g.sub(x, mean)
    return mean, low, g.reduce_mean(g.mul(low, low), axes=axes, keepdims=True)


def standardised(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """(x - mean) / √(variance + epsilon) over `axes`, in f64."""
    wide = np.asarray(x, np.float64)
    mean, variance = wide.mean(axis=axes, keepdims=True), wide.var(axis=axes, keepdims=True)
    return (wide - mean) / np.sqrt(variance + epsilon)


def along_axis(g: GraphBuilder, x: Value, axis: int, rank: int) -> Value:
    """A vector as a tensor of `rank` that lies along `axis`."""
    shape: list[Dim] = [1] * rank
    shape[axis] = x.type.shape[0]
    return g.reshape_to(x, shape)


def numpy_along_axis(x: np.ndarray | None, axis: int, rank: int) -> np.ndarray:
    """`along_axis` in numpy, f64."""
    shape = [1] * rank
    shape[axis] = -1
    return np.asarray(x, np.float64).reshape(shape)


def trailing_axes(axis: int, rank: int) -> tuple[int, ...]:
    """All axes from `axis` on."""
    return tuple(range(axis % rank, rank))
