"""Methods: how a range follows from a histogram. Each is a value with a name, parameters and `range_of`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from engineworks.calibration.entropy import FIRST_VERSION, SECOND_VERSION, threshold_bins
from engineworks.calibration.histogram import Histogram
from engineworks.errors import CalibrationError

KEEPS = 0.999
"""The share of the elements (zeros left out) that entropy ranges hold at least, unless asked otherwise.

Without it networks with swish or average pools are lost: in int8 a text recogniser then reads nothing that its fp32
engine reads; with 0.99 86 % of the characters, with 0.999 98.7 % (min-max: 99.2 %), and EfficientNet-Lite0's error is
half of that without.
"""


class Method(Protocol):
    """Chooses the largest magnitude that a tensor keeps.

    Attributes:
        algorithm: TensorRT's name for it, in the cache's header.
    """

    algorithm: ClassVar[str]

    def range_of(self, histogram: Histogram) -> float:
        """Of a histogram with a limit above 0: above 0, at most the largest magnitude seen."""
        ...


@dataclass(frozen=True, slots=True)
class Entropy:
    """The range that loses least information, by KL divergence: EntropyCalibration2 (calibration/entropy.py).

    Attributes:
        keeps: the share of the elements (zeros left out) that the range holds at least, 0 to 1; 0 asks for the
            published definition alone. Otherwise tensors whose energy 8 bits lose are left out too (energy.py).
    Raises:
        CalibrationError: `keeps` is outside of 0 to 1.
    """

    keeps: float = KEEPS
    algorithm: ClassVar[str] = "EntropyCalibration2"

    def __post_init__(self) -> None:
        _check_share(self.keeps)

    def range_of(self, histogram: Histogram) -> float:
        return _within(histogram, threshold_bins(histogram.counts, SECOND_VERSION, self.keeps))


@dataclass(frozen=True, slots=True)
class FirstEntropy:
    """The original EntropyCalibration, as published in 2017 (calibration/entropy.py).

    Attributes:
        keeps: as in `Entropy`.
    """

    keeps: float = KEEPS
    algorithm: ClassVar[str] = "EntropyCalibration"

    def __post_init__(self) -> None:
        _check_share(self.keeps)

    def range_of(self, histogram: Histogram) -> float:
        return _within(histogram, threshold_bins(histogram.counts, FIRST_VERSION, self.keeps))


@dataclass(frozen=True, slots=True)
class MinMax:
    """The largest magnitude seen: nothing is clipped."""

    algorithm: ClassVar[str] = "MinMaxCalibration"

    def range_of(self, histogram: Histogram) -> float:
        return histogram.largest


@dataclass(frozen=True, slots=True)
class Percentile:
    """The range that holds this percentage of all elements, to the upper edge of a bin.

    TensorRT's quantile method is this with `percentile` = 100 · quantile.

    Raises:
        CalibrationError: not above 0 and at most 100.
    """

    percentile: float = 99.99
    algorithm: ClassVar[str] = "LegacyCalibration"

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise CalibrationError(f"percentile {self.percentile} is not above 0 and at most 100")

    def range_of(self, histogram: Histogram) -> float:
        return _within(histogram, _quantile_bins(histogram, self.percentile / 100))


@dataclass(frozen=True, slots=True)
class Legacy:
    """TensorRT's legacy calibration: the quantile method, or the regression method when `cutoff` is below 1.

    NVIDIA publishes what the two parameters are, not the regression itself. Ours: over the bins that are not empty
    up to `cutoff` times the range of the quantile method, a straight line is fitted to the logarithm of the counts
    (an exponential tail), weighted by the counts; the range ends where the line falls below one element.

    Attributes:
        quantile: share of elements, above 0 and at most 1.
        cutoff: share of the range that the line is fitted to; 1 uses the quantile alone.
    Raises:
        CalibrationError: a share outside of its range.
    """

    quantile: float = 0.9999
    cutoff: float = 1.0
    algorithm: ClassVar[str] = "LegacyCalibration"

    def __post_init__(self) -> None:
        if not (0 < self.quantile <= 1 and 0 < self.cutoff <= 1):
            raise CalibrationError(
                f"quantile {self.quantile} and regression cutoff {self.cutoff} must be above 0 and at most 1"
            )

    def range_of(self, histogram: Histogram) -> float:
        bins = _quantile_bins(histogram, self.quantile)
        return _within(
            histogram, bins if self.cutoff >= 1 else _tail_end(histogram.counts, bins, self.cutoff)
        )


METHODS: dict[str, type[Entropy | FirstEntropy | MinMax | Percentile | Legacy]] = {
    "entropy": Entropy,
    "entropy_v1": FirstEntropy,
    "minmax": MinMax,
    "percentile": Percentile,
    "legacy": Legacy,
}


def method_named(name: str, **parameters: float) -> Method:
    """The method called `name`, with its parameters. Raises CalibrationError: no such method or parameter."""
    if name not in METHODS:
        raise CalibrationError(f"no calibration method is called '{name}'; there are {', '.join(METHODS)}")
    try:
        return METHODS[name](**parameters)
    except TypeError as error:
        raise CalibrationError(f"method '{name}' takes no parameter {', '.join(parameters)}") from error


def _check_share(keeps: float) -> None:
    if not 0 <= keeps <= 1:
        raise CalibrationError(f"keeps={keeps} is no share from 0 to 1")


def _within(histogram: Histogram, bins: float | None) -> float:
    """A number of bins as a range, no more than what was seen; all of that where there is no number."""
    return histogram.largest if bins is None else min(bins * histogram.width, histogram.largest)


def _quantile_bins(histogram: Histogram, quantile: float) -> float:
    """The upper edge of the bin in which the quantile lies, in bins."""
    running = np.cumsum(histogram.counts)
    return float(np.searchsorted(running, quantile * running[-1]) + 1)


def _tail_end(counts: np.ndarray, bins: float, cutoff: float) -> float | None:
    """Where a line through the logarithm of the counts reaches one element, in bins; None where it does not fall."""
    used = np.flatnonzero(counts[: max(1, round(bins * cutoff))])
    if used.size < 2:
        return None
    weights = np.sqrt(counts[used])
    slope, level = np.polyfit(used + 0.5, np.log(counts[used]), 1, w=weights)
    return float(max(1.0, -level / slope)) if slope < 0 else None
