"""What each method chooses, and the parameters it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.calibration.histogram import BINS, Histogram
from engineworks.calibration.methods import METHODS, Entropy, Legacy, MinMax, Percentile, method_named
from engineworks.errors import CalibrationError


def histogram_of(values: np.ndarray) -> Histogram:
    made = Histogram()
    magnitudes = np.abs(values)
    counts = np.histogram(magnitudes, BINS, (0, magnitudes.max()))[0]
    made.add(counts, float(magnitudes.max()), float(values.min()), float(values.max()))
    return made


VALUES = np.random.default_rng(0).standard_normal(300_000)


def test_minmax_keeps_the_largest_magnitude() -> None:
    assert MinMax().range_of(histogram_of(np.array([-3.0, 2.0]))) == 3.0


@pytest.mark.parametrize("percentile", [50.0, 99.0, 99.9, 99.99])
def test_a_percentile_holds_that_share_to_the_width_of_a_bin(percentile: float) -> None:
    seen = histogram_of(VALUES)
    found = Percentile(percentile).range_of(seen)
    expected = np.percentile(np.abs(VALUES), percentile)
    assert expected <= found + 1e-9 <= expected + seen.width * 1.01


def test_the_whole_percentage_is_minmax() -> None:
    assert Percentile(100).range_of(histogram_of(VALUES)) == MinMax().range_of(histogram_of(VALUES))


def test_legacy_without_a_cutoff_is_the_percentile() -> None:
    seen = histogram_of(VALUES)
    assert Legacy(quantile=0.99).range_of(seen) == Percentile(99).range_of(seen)


def test_legacy_regression_ends_where_an_exponential_tail_has_less_than_one_element() -> None:
    # 200 000 draws of density exp(-x): a bin of width w near x holds 200 000 · w · exp(-x) of them.
    values = np.random.default_rng(1).exponential(size=200_000)
    seen = histogram_of(values)
    expected = np.log(200_000 * seen.width)
    assert Legacy(quantile=1.0, cutoff=0.5).range_of(seen) == pytest.approx(expected, rel=0.03)


def test_entropy_leaves_out_a_lone_outlier() -> None:
    values = np.append(VALUES, 25.0)
    assert 3 < Entropy().range_of(histogram_of(values)) < 8


def test_entropy_keeps_the_share_it_is_asked_for() -> None:
    # As behind a swish: a spike at its lowest value, where the definition alone ends the range, and few large values.
    seen = Histogram()
    counts = np.zeros(BINS, np.int64)
    counts[:130] = 30_000
    counts[129] = 1_000_000
    counts[700:1024] = np.random.default_rng(2).poisson(300, 324)
    seen.add(counts, 2.0, -0.126, 0.999)
    literal, guarded = Entropy(keeps=0).range_of(seen), Entropy().range_of(seen)
    assert seen.share_above(literal) > 0.01
    assert seen.share_above(guarded) <= 0.001
    assert guarded > 5 * literal


@pytest.mark.parametrize("name", METHODS)
def test_no_method_exceeds_what_was_seen(name: str) -> None:
    seen = histogram_of(np.array([0.5, 0.25, 0.5]))
    assert 0 < method_named(name).range_of(seen) <= 0.5


def test_wrong_names_and_parameters_are_refused_in_sentences() -> None:
    with pytest.raises(CalibrationError, match="'kl'; there are entropy, entropy_v1, minmax"):
        method_named("kl")
    with pytest.raises(CalibrationError, match="'minmax' takes no parameter percentile"):
        method_named("minmax", percentile=99)
    with pytest.raises(CalibrationError, match="above 0 and at most 100"):
        method_named("percentile", percentile=0)
    with pytest.raises(CalibrationError, match="keeps=2 is no share"):
        Entropy(keeps=2)
    with pytest.raises(CalibrationError, match="regression cutoff 2"):
        Legacy(cutoff=2)
