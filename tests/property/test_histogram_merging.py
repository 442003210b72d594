"""Histograms that grow batch by batch hold what one histogram of all data holds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engineworks.calibration.histogram import BINS, Histogram

# Multiples of 2^-4 below 2^12 with power-of-two limits: positions of bins are exact, so counts must agree exactly.
BATCHES = st.lists(
    arrays.arrays(np.int32, st.integers(1, 60), elements=st.integers(-(2**16) + 1, 2**16 - 1)),
    min_size=1,
    max_size=8,
)


def counts(values: np.ndarray, limit: float) -> np.ndarray:
    return (
        np.histogram(np.abs(values), BINS, (0, limit))[0]
        if limit
        else np.eye(1, BINS, dtype=int)[0] * values.size
    )


@given(BATCHES)
@settings(max_examples=80)
def test_batches_add_up_to_one_histogram(batches: list[np.ndarray]) -> None:
    grown, limit = Histogram(), 0.0
    for batch in batches:
        values = batch / 16
        largest = float(np.abs(values).max())
        if largest:
            limit = max(limit, 2.0 ** (np.floor(np.log2(largest)) + 1))
        grown.add(counts(values, limit), limit, float(values.min()), float(values.max()))
    every = np.concatenate(batches) / 16
    np.testing.assert_array_equal(grown.counts, counts(every, limit))
    assert (grown.total, grown.low, grown.high) == (every.size, every.min(), every.max())
    assert grown.largest == np.abs(every).max()


@given(arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(-8, 8)), st.floats(0.01, 8))
def test_the_clipped_share_is_right_to_a_bin(values: np.ndarray, threshold: float) -> None:
    seen = Histogram()
    seen.add(counts(values, 8.0), 8.0, float(values.min()), float(values.max()))
    magnitudes, width = np.abs(values), 8.0 / BINS
    least = (magnitudes > threshold + width).mean() if threshold < seen.largest else 0.0
    most = (magnitudes >= threshold - width).mean()
    assert least - 1e-12 <= seen.share_above(threshold) <= most + 1e-12


def test_values_that_are_not_finite_end_the_counting() -> None:
    seen = Histogram()
    seen.add(counts(np.ones(4), 1.0), 1.0, 1.0, 1.0)
    seen.add(counts(np.ones(4), 1.0), float("nan"), float("nan"), 1.0)
    seen.add(counts(np.ones(4), 1.0), 1.0, 1.0, 1.0)
    assert not seen.is_finite
    assert seen.counts.sum() == 4
