"""Histogram: how often which magnitude was seen, in constant memory, over any number of batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

BINS = 2048
"""As the published calibration algorithms have it."""


def _no_counts() -> np.ndarray:
    return np.zeros(BINS, np.int64)


@dataclass(slots=True)
class Histogram:
    """Magnitudes of one tensor in equal bins from 0 to `limit`.

    The limit begins as the first batch's largest magnitude. It grows by doubling, which adds up neighbouring bins
    exactly; so no earlier batch is needed again, and at least half of the bins stay in use.

    Attributes:
        counts: i64 [BINS].
        limit: upper edge of the last bin; 0 while all that was seen is zero.
        low, high: the smallest and largest value seen; inf and -inf before any.
        total: elements seen.
    """

    counts: np.ndarray = field(default_factory=_no_counts)
    limit: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    total: int = 0

    @property
    def width(self) -> float:
        """Of one bin."""
        return self.limit / BINS

    @property
    def largest(self) -> float:
        """The largest magnitude seen; 0 before any."""
        return max(self.high, -self.low, 0.0)

    @property
    def is_finite(self) -> bool:
        """Neither NaN nor an infinity was seen."""
        return not self.total or (math.isfinite(self.low) and math.isfinite(self.high))

    def add(self, counts: np.ndarray, limit: float, low: float, high: float) -> None:
        """Add what a batch counted up to `limit`: the present one times a power of two (any, where that is 0).

        Values that are not finite end the counting: `low` or `high` keep them.
        """
        seen = int(counts.sum())
        if not seen:
            return
        # numpy's minimum and maximum keep NaN.
        self.low, self.high = float(np.minimum(self.low, low)), float(np.maximum(self.high, high))
        self.total += seen
        if not self.is_finite:
            return
        if limit > 0:
            self._grow(limit)
            self.counts += counts
        else:
            self.counts[0] += seen

    def _grow(self, limit: float) -> None:
        """Let the bins reach up to `limit`."""
        if self.limit > 0 and limit > self.limit:
            # Magnitudes that many doublings below the limit all lie in the first bin.
            doublings = min(round(math.log2(limit / self.limit)), int(math.log2(BINS)))
            folded = self.counts.reshape(-1, 1 << doublings).sum(1)
            self.counts = np.concatenate([folded, np.zeros(BINS - len(folded), np.int64)])
        self.limit = limit

    def share_above(self, threshold: float) -> float:
        """The share of elements whose magnitude is above `threshold`, 0 to 1, to the nearest bin edge."""
        if not self.total or self.limit <= 0 or threshold >= self.largest:
            return 0.0
        first = min(round(threshold / self.width), BINS)
        return float(self.counts[first:].sum()) / self.total
