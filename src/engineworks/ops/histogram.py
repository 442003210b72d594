"""How many elements have which magnitude: what calibration collects (calibration/observe.py)."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import Op, example, f32, op

BELOW_EXPONENT = 0x007F_FFFF
"""The mantissa's bits of an f32: adding them to a positive number's bits, then clearing them, rounds it up to a power
of two."""


@op("histogram")
class Histogram(Op):
    """Counts of |x| in `bins` equal bins from 0 to a limit, i32 [bins], and what was seen, f32 [3].

    Seen are the smallest and the largest element (both NaN where one is not finite; inf and -inf of no elements), and
    the limit used. That is the input `limit`, an f32 scalar, doubled until it reaches the largest magnitude; the
    largest magnitude itself where the input is 0; the input where an element is not finite.

    The bin is found in f32 as |x| · (bins / limit), so that a limit twice as large gives the same counts, two
    neighbours added up (but for what lies at the limit). What is beyond the limit, and NaN, is counted in the last bin.
    """

    bins: int

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, limit = inputs
        assert x is not None and limit is not None
        if x.dtype is not dtypes.f32 or limit.dtype is not dtypes.f32 or limit.rank:
            raise InvalidModel(f"a histogram takes f32 and a scalar limit, not {x} and {limit}")
        if self.bins < 1:
            raise InvalidModel(f"a histogram of {self.bins} bins holds nothing")
        return TensorType(dtypes.i32, (self.bins,)), TensorType(dtypes.f32, (3,))

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, limit = (np.asarray(array, np.float32) for array in inputs)
        low, high = x.min(initial=np.inf), x.max(initial=-np.inf)
        if not np.isfinite(x).all():
            low = high = np.float32(np.nan)
        used = grown(limit.reshape(()), np.maximum(high, -low))
        with np.errstate(all="ignore"):
            positions = np.abs(x).ravel() * (np.float32(self.bins) / used)
            found = np.fmin(positions, np.float32(self.bins - 1)).astype(np.int32)
        counts = np.bincount(found, minlength=self.bins).astype(np.int32)
        return counts, np.array([low, high, used], np.float32)

    examples = (
        example(f32(3, 40), f32(values=2.0), bins=16),
        example(f32("N", 77), f32(values=0.3), bins=2048, dims={"N": (1, 9)}),
        example(f32(5, 7), f32(values=0.0), bins=64),
        example(f32(4, values=[0.0, -1.0, float("inf"), float("nan")]), f32(values=1.0), bins=4),
    )


def grown(limit: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The limit used for these magnitudes: f32 scalars (see `Histogram`).

    Where the ratio is beyond f32, `largest` is taken: all that was counted before falls in the first bin.
    """
    if not np.isfinite(largest):
        return limit
    if not limit > 0:
        return largest
    with np.errstate(over="ignore"):
        bits = np.asarray(largest / limit, np.float32).view(np.int32)
        factor = np.asarray((bits + BELOW_EXPONENT) & ~BELOW_EXPONENT, np.int32).view(np.float32)
        doubled = limit * np.maximum(factor, np.float32(1))
    return doubled if np.isfinite(doubled) else largest
