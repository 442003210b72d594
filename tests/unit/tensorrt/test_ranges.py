"""Ranges of an INT8 build: calibrators, their caches, and what is set by hand."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks.tensorrt as trt
from engineworks.calibration.ranges import Ranges
from engineworks.errors import CalibrationError, InvalidModel
from engineworks.tensorrt.ranges import ranges_of
from tests.unit.tensorrt.models import WEIGHT, expected, make_model

BATCHES = 2 * np.random.default_rng(3).standard_normal((16, 4, 8)).astype(np.float32)


class _Calibrator:
    """Gives BATCHES by address and keeps the cache in memory."""

    def __init__(self, cache: bytes | None = None) -> None:
        super().__init__()
        self.cache, self.asked, self.left = cache, 0, list(BATCHES)

    def get_batch_size(self) -> int:
        return 4

    def get_batch(self, names):
        self.asked += 1
        assert names == ["x"]
        if not self.left:
            return None
        self.current = self.left.pop()
        return [self.current.ctypes.data]

    def read_calibration_cache(self):
        return self.cache

    def write_calibration_cache(self, cache) -> None:
        self.cache = bytes(cache)


class Entropy(_Calibrator, trt.IInt8EntropyCalibrator2):
    pass


class FirstEntropy(_Calibrator, trt.IInt8EntropyCalibrator):
    pass


class MinMax(_Calibrator, trt.IInt8MinMaxCalibrator):
    pass


class Legacy(_Calibrator, trt.IInt8LegacyCalibrator):
    def get_quantile(self) -> float:
        return 0.99

    def get_regression_cutoff(self) -> float:
        return 1.0


@pytest.fixture
def network(logger) -> trt.INetworkDefinition:
    made = trt.Builder(logger).create_network(1)
    assert trt.OnnxParser(made, logger).parse(make_model("N"))
    return made


@pytest.fixture
def config() -> trt.IBuilderConfig:
    made = trt.IBuilderConfig()
    profile = trt.IOptimizationProfile()
    profile.set_shape("x", (1, 8), (4, 8), (16, 8))
    made.add_optimization_profile(profile)
    return made


def test_without_calibrator_and_ranges_there_are_none(network, config, logger) -> None:
    assert ranges_of(network, config, logger) is None


def test_minmax_ranges_are_those_of_the_data(network, config, logger) -> None:
    config.int8_calibrator = calibrator = MinMax()
    found = ranges_of(network, config, logger)
    assert found["x"] * 127 == pytest.approx(np.abs(BATCHES).max(), rel=1e-6)
    assert found["y"] * 127 == pytest.approx(expected(BATCHES.reshape(-1, 8)).max(), rel=1e-5)
    assert calibrator.cache.startswith(b"TRT-101300-MinMaxCalibration\n")
    assert Ranges.decode(calibrator.cache) == found


@pytest.mark.parametrize("kind", [Entropy, FirstEntropy, Legacy])
def test_other_methods_clip(network, config, logger, kind) -> None:
    config.int8_calibrator = kind()
    found = ranges_of(network, config, logger)
    assert 0 < found["x"] * 127 <= np.abs(BATCHES).max() * 1.0001
    if kind is Legacy:
        assert found["x"] * 127 == pytest.approx(np.quantile(np.abs(BATCHES), 0.99), rel=0.02)


def test_a_valid_cache_is_read_and_no_batch_is_taken(network, config, logger) -> None:
    config.int8_calibrator = calibrator = Entropy(b"TRT-8601-EntropyCalibration2\nx: 3c010204\ny: 3d010204\n")
    found = ranges_of(network, config, logger)
    assert found["x"] * 127 == pytest.approx(1.0)
    assert calibrator.asked == 0


@pytest.mark.parametrize(("cache", "why"), [
    (b"TRT-8601-MinMaxCalibration\nx: 3c010204\n", "MinMaxCalibration and the calibrator of EntropyCalibration2"),
    (b"nonsense", "a calibration cache begins with"),
])  # fmt: skip
def test_another_cache_is_replaced_with_a_warning(network, config, logger, cache: bytes, why: str) -> None:
    config.int8_calibrator = calibrator = Entropy(cache)
    ranges_of(network, config, logger)
    assert any(severity == trt.Logger.WARNING and why in text for severity, text in logger.messages)
    assert calibrator.cache.startswith(b"TRT-101300-EntropyCalibration2\n")


def test_ranges_by_hand_override_calibration(network, config, logger) -> None:
    config.int8_calibrator = MinMax()
    network.get_input(0).set_dynamic_range(-1, 2)
    network.get_layer(0).get_output(0).dynamic_range = (-4, 4)
    found = ranges_of(network, config, logger)
    assert found["x"] * 127 == pytest.approx(2)
    assert found["h"] * 127 == pytest.approx(4)
    assert found["y"] * 127 == pytest.approx(expected(BATCHES.reshape(-1, 8)).max(), rel=1e-5)
    assert WEIGHT.shape == (8, 4)


def test_ranges_by_hand_are_enough(network, config, logger) -> None:
    network.get_input(0).name = "given"
    network.get_input(0).dynamic_range = (-3, 3)
    assert set(ranges_of(network, config, logger)) == {"given"}


def test_batches_have_the_typical_shape_of_the_calibration_profile(network, config, logger) -> None:
    profile = trt.IOptimizationProfile()
    profile.set_shape("x", (2, 8), (2, 8), (2, 8))
    config.set_calibration_profile(profile)
    config.int8_calibrator = MinMax()
    found = ranges_of(network, config, logger)
    assert found["x"] * 127 == pytest.approx(np.abs(BATCHES[:, :2]).max(), rel=1e-6)
    assert any("get_batch_size() is 4" in text for _, text in logger.messages)


def test_an_open_size_asks_for_a_profile(network, logger) -> None:
    config = trt.IBuilderConfig()
    config.int8_calibrator = MinMax()
    with pytest.raises(InvalidModel, match="no profile bounds them"):
        ranges_of(network, config, logger)


def test_a_calibrator_without_data_is_an_error(network, config, logger) -> None:
    config.int8_calibrator = calibrator = MinMax()
    calibrator.left = []
    with pytest.raises(CalibrationError, match="no calibration data"):
        ranges_of(network, config, logger)
