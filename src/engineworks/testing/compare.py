"""How close two arrays must be, from dtype, reduction length and primitives; messages find the worst element."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType

BASE_ULPS = 4.0
PRIM_ULPS = {
    "exp": 4.0, "log": 4.0, "sin": 4.0, "cos": 4.0, "tan": 8.0, "tanh": 8.0, "erf": 8.0, "sigmoid": 8.0, "pow": 16.0,
    "asin": 8.0, "acos": 8.0, "atan": 8.0, "expm1": 8.0, "log1p": 8.0, "rsqrt": 4.0, "sqrt": 1.0, "div": 1.0,
}  # fmt: skip
"""Units in the last place that a primitive may add. Vector expansions are polynomials good to 1 to 4 of them."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|actual - expected| may be up to relative · |expected| + of_largest · max |expected|."""

    relative: float
    of_largest: float

    @property
    def is_exact(self) -> bool:
        return self.relative == 0 and self.of_largest == 0


def tolerance(
    dtype: DType, length: int = 1, prims: Iterable[str] = (), rtol: float | None = None
) -> Tolerance:
    """What rounding explains.

    Args:
        length: elements combined into one output (1: none are combined).
        prims: names of the scalar primitives on the way to an output.
        rtol: instead of the computed relative part.

    Error of a sum grows with √length when roundings are independent; sums of narrow floats are kept in f32. The part
    of the largest covers cancellation: results near zero carry the rounding of their larger terms.
    """
    if not dtype.is_float:
        return Tolerance(0.0, 0.0)
    eps = float(ml_dtypes.finfo(dtype.numpy).eps)
    sums = max(
        eps if dtype.bits >= 32 else 0.0, float(np.finfo(np.float32).eps) if dtype is not dtypes.f64 else 0.0
    )
    ulps = BASE_ULPS if dtype.bits >= 32 else 1.0
    extra = sum(PRIM_ULPS.get(p, 0.0) for p in prims) * sums + 2 * math.sqrt(length) * sums
    relative = ulps * eps + extra if rtol is None else rtol
    return Tolerance(relative, relative / 2)


def assert_close(actual: np.ndarray, expected: np.ndarray, allowed: Tolerance, what: str = "result") -> None:
    """Compare shape, dtype and every element; NaN equals NaN, infinities must be the same.

    Raises:
        AssertionError: with the worst index, both values and their distance in ULPs.
    """
    message = difference(actual, expected, allowed)
    assert not message, f"{what}: {message}"


def difference(actual: np.ndarray, expected: np.ndarray, allowed: Tolerance) -> str:
    """'' when close enough, else the sentence that says where and by how much they differ."""
    a, e = np.asarray(actual), np.asarray(expected)
    if a.shape != e.shape:
        return f"shape {list(a.shape)}, expected {list(e.shape)}"
    if a.dtype != e.dtype:
        return f"dtype {a.dtype}, expected {e.dtype}"
    if not a.size:
        return ""
    if a.dtype.kind in "OUSb" or (allowed.is_exact and a.dtype.kind in "iu"):
        return _first_unequal(a, e)
    wide_a, wide_e = a.astype(np.float64), e.astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(wide_a - wide_e)
        same = (wide_a == wide_e) | (np.isnan(wide_a) & np.isnan(wide_e))
        finite = np.abs(wide_e[np.isfinite(wide_e)])
        limit = allowed.relative * np.abs(wide_e) + allowed.of_largest * (
            finite.max() if finite.size else 0.0
        )
        excess = np.where(same, 0.0, np.where(np.isfinite(error), error / np.maximum(limit, 5e-324), np.inf))
    if excess.max() <= 1:
        return ""
    worst = np.unravel_index(int(excess.argmax()), a.shape)
    wrong = int((excess > 1).sum())
    return (
        f"{wrong} of {a.size} elements differ; worst at {[int(i) for i in worst]}: {wide_a[worst]!r}, "
        f"expected {wide_e[worst]!r} ({_ulps(a[worst], e[worst])}, {excess[worst]:.3g} times the allowed "
        f"{allowed.relative:.2g} relative)"
    )


def _first_unequal(a: np.ndarray, e: np.ndarray) -> str:
    unequal = np.asarray(a != e)
    if not unequal.any():
        return ""
    where = np.unravel_index(int(unequal.argmax()), a.shape)
    count, index = int(unequal.sum()), [int(i) for i in where]
    return f"{count} of {a.size} elements differ; first at {index}: {a[where]!r}, expected {e[where]!r}"


def _ulps(a: object, e: object) -> str:
    """Distance in units in the last place of the expected value."""
    kind = np.asarray(e).dtype
    if kind.kind in "iu" or not np.isfinite(float(a)) or not np.isfinite(float(e)):  # type: ignore[arg-type]
        return "not measurable in ULPs"
    info = ml_dtypes.finfo(kind)
    exponent = math.frexp(float(e))[1] - 1 if float(e) else int(info.minexp)  # type: ignore[arg-type]
    step = float(info.eps) * 2.0 ** max(exponent, int(info.minexp))
    return f"{abs(float(a) - float(e)) / step:.3g} ULPs"  # type: ignore[arg-type]
