"""Where resized elements come from: ONNX's coordinates, rounding and filters, for numpy and for scalars."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.scalar import Scalar, apply, const, where

Coordinates = Literal[
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize",
]  # fmt: skip
Rounding = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
Number = Any
"""f64: a numpy array or float, or a Scalar; one formula serves both."""


def source_position(
    out: Number, scale: Number, length: Number, count: Number, how: Coordinates, roi: tuple[float, float]
) -> Number:
    """The position in the source of output element `out` (ONNX Resize-19).

    Args:
        scale: resized length / source length, possibly fractional where scales were given.
        length, count: source elements, output elements.
        roi: start and end as fractions of the source, for tf_crop_and_resize.
    """
    width = scale * length
    match how:
        case "align_corners":
            return _unless_one(width, lambda: out * (length - 1) / (width - 1), lambda: out * 0.0)
        case "asymmetric":
            return out / scale
        case "tf_half_pixel_for_nn":
            return (out + 0.5) / scale
        case "tf_crop_and_resize":
            start, end = roi
            first = start * (length - 1)
            return _unless_one(
                width,
                lambda: out * (end - start) * (length - 1) / (width - 1) + first,
                lambda: out * 0.0 + (end - start) * (length - 1) / 2 + first,
            )
        case "pytorch_half_pixel":
            return _unless_one(width, lambda: (out + 0.5) / scale - 0.5, lambda: out * 0.0 - 0.5)
        case "half_pixel_symmetric":
            offset = length / 2 * (1 - count / width)
            return offset + (out + 0.5) / scale - 0.5
    return (out + 0.5) / scale - 0.5


def _unless_one(width: Number, usual: Any, single: Any) -> Number:
    """single() where width is 1, else usual()."""
    if isinstance(width, Scalar):
        return where(apply("eq", width, const(1, dtypes.f64)), single(), usual())
    return single() if width == 1 else usual()


def nearest(position: Number, how: Rounding) -> Number:
    """The position rounded to a whole one, still f64."""
    match how:
        case "floor":
            return _floor(position)
        case "ceil":
            return _ceil(position)
        case "round_prefer_ceil":
            return _floor(position + 0.5)
    return _ceil(position - 0.5)


def _floor(x: Number) -> Number:
    return apply("floor", x) if isinstance(x, Scalar) else np.floor(x)


def _ceil(x: Number) -> Number:
    return apply("ceil", x) if isinstance(x, Scalar) else np.ceil(x)


def cubic_weights(t: Number, a: float) -> list[Number]:
    """Weights of the elements at -1, 0, 1, 2 for a position t in [0, 1) after element 0 (Keys 1981)."""
    s = 1 - t
    return [
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * s - (a + 3)) * s * s + 1,
        ((a * (s + 1) - 5 * a) * (s + 1) + 8 * a) * (s + 1) - 4 * a,
    ]


def filter_value(distance: np.ndarray, mode: str, a: float) -> np.ndarray:
    """The linear or cubic filter at a distance from its centre."""
    d = np.abs(distance)
    if mode == "linear":
        return np.clip(1 - d, 0, 1)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def filter_matrix(
    position: np.ndarray,
    length: int,
    scale: float,
    mode: str,
    a: float,
    *,
    antialias: bool,
    exclude_outside: bool,
) -> np.ndarray:
    """[outputs, length] f64: how much each source element adds to each output.

    Elements beyond the border repeat it, or with `exclude_outside` weigh nothing. Antialiasing stretches the filter
    by 1 / scale where that shrinks, and makes the weights sum to 1.
    """
    squeeze = min(scale, 1.0) if antialias else 1.0
    reach = int(np.ceil((1 if mode == "linear" else 2) / squeeze))
    taps = np.floor(position).astype(np.int64)[:, None] + np.arange(-reach, reach + 2)
    weights = filter_value((taps - position[:, None]) * squeeze, mode, a)
    if antialias:
        weights /= weights.sum(axis=1, keepdims=True)
    if exclude_outside:
        weights = np.where((taps < 0) | (taps >= length), 0.0, weights)
        total = weights.sum(axis=1, keepdims=True)
        weights /= np.where(total == 0, 1.0, total)
    matrix = np.zeros((len(position), length))
    np.add.at(matrix, (np.arange(len(position))[:, None], np.clip(taps, 0, length - 1)), weights)
    return matrix
