"""Calibrators that programs subclass: where the data of INT8 calibration comes from, and where its cache lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engineworks.tensorrt.enums import CalibrationAlgoType
from engineworks.tensorrt.unsupported import Face


class IInt8Calibrator(Face):
    """Gives batches of example inputs. Subclass one of the calibrators below, which name the method."""

    algorithm: CalibrationAlgoType

    def __init__(self) -> None:
        self._is_ready = True

    def get_batch_size(self) -> int:
        """How many examples a batch holds."""
        raise NotImplementedError(_missing(self, "get_batch_size()", "the number of examples in a batch"))

    def get_batch(self, names: list[str]) -> Sequence[Any] | None:
        """One address (an integer) or array for each of the inputs; None after the last batch.

        Addresses are of host memory, or of this machine's GPU where the build is for GPUs.
        """
        raise NotImplementedError(_missing(self, "get_batch(names)", "one address or array for each input"))

    def get_algorithm(self) -> CalibrationAlgoType:
        return self.algorithm

    def read_calibration_cache(self) -> bytes | None:
        """The cache that `write_calibration_cache` was given, or None."""
        return None

    def write_calibration_cache(self, cache: bytes) -> None:
        """Called with the text of the cache when ranges were computed."""


class IInt8EntropyCalibrator2(IInt8Calibrator):
    """Ranges that lose the least information: Kullback-Leibler divergence, TensorRT's second version."""

    algorithm = CalibrationAlgoType.ENTROPY_CALIBRATION_2


class IInt8EntropyCalibrator(IInt8Calibrator):
    """Kullback-Leibler divergence, TensorRT's first version."""

    algorithm = CalibrationAlgoType.ENTROPY_CALIBRATION


class IInt8MinMaxCalibrator(IInt8Calibrator):
    """Ranges that hold every value seen."""

    algorithm = CalibrationAlgoType.MINMAX_CALIBRATION


class IInt8LegacyCalibrator(IInt8Calibrator):
    """Ranges that hold a share of the values."""

    algorithm = CalibrationAlgoType.LEGACY_CALIBRATION

    def get_quantile(self) -> float:
        """The share of magnitudes that a range holds, 0 to 1."""
        raise NotImplementedError(_missing(self, "get_quantile()", "a share of the values, such as 0.9999"))

    def get_regression_cutoff(self) -> float:
        """The largest part of the range that is searched for a better one, 0 to 1; ranges here follow the quantile."""
        return 1.0

    def read_histogram_cache(self, length: int) -> bytes | None:
        """Histograms of an earlier run; statistics are gathered anew here, so it is not called."""
        return None

    def write_histogram_cache(self, data: bytes, length: int) -> None:
        """Not called: no histograms are kept between runs."""


def _missing(calibrator: IInt8Calibrator, method: str, what: str) -> str:
    return f"{type(calibrator).__name__} does not define {method}: {what}"


def require_ready(calibrator: Any) -> None:
    """Raises TypeError: not a calibrator of this module, or one whose __init__ never reached the base."""
    name = type(calibrator).__name__
    if not isinstance(calibrator, IInt8Calibrator):
        raise TypeError(f"int8_calibrator takes a subclass of IInt8EntropyCalibrator2 or its kin, not {name}")
    if not hasattr(calibrator, "algorithm"):
        raise TypeError(f"{name} derives from IInt8Calibrator itself: derive it from IInt8EntropyCalibrator2")
    if "_is_ready" not in vars(calibrator):
        raise TypeError(f"{name}.__init__ does not call super().__init__() of its calibrator")
