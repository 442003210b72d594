"""The energy that 8 bits lose, against quantising the numbers themselves; ranges that keep it."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.calibration.energy import MAX_LOST, lost_energy, with_energy
from engineworks.calibration.histogram import BINS, Histogram


def _histogram(values: np.ndarray) -> Histogram:
    limit = float(np.abs(values).max())
    counts, _ = np.histogram(np.abs(values), BINS, (0, limit))
    made = Histogram()
    made.add(counts.astype(np.int64), limit, float(values.min()), float(values.max()))
    return made


def _quantised(values: np.ndarray, kept: float) -> np.ndarray:
    step = kept / 127
    return np.clip(np.rint(values / step), -127, 127) * step


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_lost_energy_is_that_of_quantised_numbers(share: float) -> None:
    values = np.random.default_rng(0).standard_normal(400_000)
    kept = share * np.abs(values).max()
    wanted = ((values - _quantised(values, kept)) ** 2).sum() / (values**2).sum()
    assert lost_energy(_histogram(values), kept) == pytest.approx(wanted, rel=0.02)


def test_a_range_that_keeps_the_energy_stays() -> None:
    histogram = _histogram(np.random.default_rng(1).standard_normal(100_000))
    assert with_energy(histogram, 4.0) == (4.0, "")


def test_clipping_that_loses_energy_is_undone() -> None:
    values = np.random.default_rng(2).standard_normal(100_000)
    values[:100] = 12.0
    histogram = _histogram(values)
    assert lost_energy(histogram, 4.0) > MAX_LOST
    kept, why = with_energy(histogram, 4.0)
    assert kept == pytest.approx(histogram.largest, rel=0.02)
    assert not why


@pytest.mark.parametrize("kept", [0.5, 2.0, 6.0])
def test_the_range_loses_about_the_least_that_any_wider_one_loses(kept: float) -> None:
    values = np.random.default_rng(4).standard_normal(200_000)
    values[:40] = 9.0

    def lost(limit: float) -> float:
        return float(((values - _quantised(values, limit)) ** 2).sum())

    found, why = with_energy(_histogram(values), kept)
    assert not why
    assert found >= kept
    assert lost(found) <= 1.02 * min(lost(limit) for limit in np.linspace(kept, 9.0, 300))


def test_a_few_huge_values_leave_no_range() -> None:
    values = np.random.default_rng(3).standard_normal(1_000_000)
    values[:10] = 300.0
    kept, why = with_energy(_histogram(values), 4.0)
    assert kept == 0
    assert "of its energy" in why
