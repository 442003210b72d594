"""The entropy methods against plain loops, on distributions that networks have and on awkward ones."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.calibration.entropy import FIRST, FIRST_VERSION, SECOND_VERSION, divergences, threshold_bins
from tests.unit.calibration.published_entropy import divergence, first_version, second_version

_rng = np.random.default_rng(0)
SAMPLES = {
    "normal": _rng.standard_normal(200_000),
    "relu": np.maximum(_rng.standard_normal(200_000), 0),
    "relu6": np.clip(3 * _rng.standard_normal(100_000), 0, 6),
    "exponential": _rng.exponential(size=100_000),
    "heavy tail": _rng.standard_t(2, 100_000),
    "uniform": _rng.random(50_000),
    "far from zero": 1 + 0.2 * _rng.standard_normal(20_000),
    "two peaks": np.concatenate([_rng.normal(1, 0.1, 30_000), _rng.normal(20, 0.2, 300)]),
    "few values": _rng.integers(-5, 6, 5_000).astype(float),
    "few samples": _rng.standard_normal(300),
    "one outlier": np.append(_rng.standard_normal(50_000), 400.0),
}


def counts_of(values: np.ndarray, bins: int) -> np.ndarray:
    magnitudes = np.abs(values)
    return np.histogram(magnitudes, bins, (0, magnitudes.max()))[0]


@pytest.mark.parametrize("keeps", [0.0, 0.999])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_second_version_is_the_published_one(name: str, keeps: float) -> None:
    counts = counts_of(SAMPLES[name], 512)
    assert threshold_bins(counts, SECOND_VERSION, keeps) == second_version(counts.tolist(), keeps)


@pytest.mark.parametrize("keeps", [0.0, 0.999])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_first_version_is_the_published_one(name: str, keeps: float) -> None:
    counts = counts_of(SAMPLES[name], 512)
    assert threshold_bins(counts, FIRST_VERSION, keeps) == first_version(counts.tolist(), keeps)


@pytest.mark.parametrize("smoothing", [0.0, 1e-4])
def test_each_divergence_is_the_loops_on_all_2048_bins(smoothing: float) -> None:
    counts = counts_of(SAMPLES["heavy tail"], 2048).astype(float)
    found = divergences(counts, len(counts), smoothing, 0.0)
    for candidate in (128, 129, 200, 255, 256, 257, 511, 1000, 1025, 1999, 2047, 2048):
        expected = divergence(counts.tolist(), candidate, smoothing, 0.0)
        np.testing.assert_allclose(found[candidate - FIRST], expected, rtol=1e-9, atol=1e-12)


def test_a_histogram_grown_past_its_data_has_no_candidates_there() -> None:
    counts = counts_of(SAMPLES["relu"], 512)
    grown = np.concatenate([counts, np.zeros(512, counts.dtype)])
    assert threshold_bins(grown, SECOND_VERSION, 0.5) == second_version(grown.tolist(), 0.5)
    assert threshold_bins(grown, SECOND_VERSION, 0.5) <= 512
    assert threshold_bins(grown, FIRST_VERSION, 0.5) == first_version(grown.tolist(), 0.5)


@pytest.mark.parametrize("rule", [FIRST_VERSION, SECOND_VERSION])
def test_too_few_bins_in_use_give_no_answer(rule) -> None:
    counts = np.zeros(2048, np.int64)
    assert threshold_bins(counts, rule, 0.0) is None
    counts[:100] = 7
    assert threshold_bins(counts, rule, 0.0) is None


def test_one_value_alone_keeps_its_range() -> None:
    counts = np.zeros(2048, np.int64)
    counts[2047] = 1000
    assert threshold_bins(counts, SECOND_VERSION, 0.0) == 2048
    assert threshold_bins(counts, FIRST_VERSION, 0.0) is None
