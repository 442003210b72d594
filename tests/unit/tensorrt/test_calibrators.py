"""What calibrators must define, and what they may give as a batch."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import engineworks.tensorrt as trt
from engineworks.errors import CalibrationError
from engineworks.tensorrt.batches import batch_size_of, batches

INPUTS = {"x": (np.dtype(np.float32), (2, 3)), "ids": (np.dtype(np.int32), (2,))}
X = np.arange(6, dtype=np.float32).reshape(2, 3)
IDS = np.array([7, 8], np.int32)


class Given(trt.IInt8EntropyCalibrator2):
    """Gives the batches of a list."""

    def __init__(self, *given) -> None:
        super().__init__()
        self.given = list(given)

    def get_batch_size(self) -> int:
        return 2

    def get_batch(self, names):
        return self.given.pop(0) if self.given else None


class Pointer:
    def __init__(self, address: int) -> None:
        self.ptr = address


class Interface:
    def __init__(self, array: np.ndarray) -> None:
        self.__array_interface__ = array.__array_interface__


def _one(part):
    return next(batches(Given([part, IDS]), INPUTS))["x"]


@pytest.mark.parametrize("make", [
    lambda x: x.ctypes.data,
    lambda x: ctypes.c_void_p(x.ctypes.data).value,
    lambda x: Pointer(x.ctypes.data),
    lambda x: x,
    lambda x: x.ravel(),
    Interface,
])  # fmt: skip
def test_a_part_is_an_address_or_an_array(make) -> None:
    x = X.copy()
    np.testing.assert_array_equal(_one(make(x)), X)


def test_torch_tensors_are_arrays() -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(_one(torch.from_numpy(X.copy()).cpu()), X)


def test_batches_are_copies_since_programs_reuse_their_memory() -> None:
    x = X.copy()
    first, second = batches(Given([x.ctypes.data, IDS], [x, IDS]), INPUTS)
    x[:] = -1
    np.testing.assert_array_equal(first["x"], X)
    np.testing.assert_array_equal(second["x"], X)


@pytest.mark.parametrize("end", [None, []])
def test_none_or_nothing_ends_the_batches(end) -> None:
    assert len(list(batches(Given([X, IDS], end, [X, IDS]), INPUTS))) == 1


@pytest.mark.parametrize(("given", "why"), [
    ([X], "1 parts; the network has 2 inputs: x, ids"),
    ([X[:, :1], IDS], r"float32\[2, 1\]; the calibration shape is float32\[2, 3\]"),
    ([X.astype(np.float64), IDS], "float64"),
    ([8, IDS], "cannot be read at 0x8"),
    ([1 << 64, IDS], "cannot be read"),
    ([object(), IDS], "is a object: give an address"),
])  # fmt: skip
def test_a_batch_that_does_not_fit_says_why(given, why: str) -> None:
    with pytest.raises(CalibrationError, match=why):
        list(batches(Given(given), INPUTS))


@pytest.mark.parametrize("size", [0, None, 2.5])
def test_a_batch_size_is_a_count(size) -> None:
    calibrator = Given()
    calibrator.get_batch_size = lambda: size
    with pytest.raises(CalibrationError, match="not a count"):
        batch_size_of(calibrator)


def test_a_calibrator_says_what_it_lacks() -> None:
    class Empty(trt.IInt8MinMaxCalibrator):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty does not define get_batch\(names\)"):
        list(batches(Empty(), INPUTS))
    with pytest.raises(NotImplementedError, match=r"Empty does not define get_batch_size\(\)"):
        batch_size_of(Empty())
    assert Empty().read_calibration_cache() is None


def test_a_legacy_calibrator_names_its_quantile() -> None:
    with pytest.raises(NotImplementedError, match="get_quantile"):
        trt.IInt8LegacyCalibrator().get_quantile()
    assert trt.IInt8LegacyCalibrator().get_regression_cutoff() == 1.0


def test_every_calibrator_has_its_method() -> None:
    kinds = (
        trt.IInt8LegacyCalibrator,
        trt.IInt8EntropyCalibrator,
        trt.IInt8EntropyCalibrator2,
        trt.IInt8MinMaxCalibrator,
    )
    assert [kind().get_algorithm() for kind in kinds] == list(trt.CalibrationAlgoType)


def test_the_config_refuses_what_is_no_calibrator() -> None:
    class Forgot(trt.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            self.data = []

    class Bare(trt.IInt8Calibrator):
        pass

    config = trt.IBuilderConfig()
    for wrong, why in (
        (Forgot(), r"does not call super\(\).__init__"),
        (Bare(), "derive it from"),
        (object(), "not object"),
    ):
        with pytest.raises(TypeError, match=why):
            config.int8_calibrator = wrong
    config.int8_calibrator = good = Given()
    assert config.int8_calibrator is good
    config.int8_calibrator = None
    assert config.int8_calibrator is None


def test_the_config_keeps_the_calibration_profile_and_quantization_flags() -> None:
    config = trt.IBuilderConfig()
    profile = trt.IOptimizationProfile()
    assert not config.set_calibration_profile(profile)
    assert config.get_calibration_profile() is None
    profile.set_shape("x", (1, 3), (2, 3), (4, 3))
    assert config.set_calibration_profile(profile)
    assert config.get_calibration_profile() is profile
    flag = trt.QuantizationFlag.CALIBRATE_BEFORE_FUSION
    config.set_quantization_flag(flag)
    assert config.get_quantization_flag(flag)
    config.clear_quantization_flag(flag)
    assert not config.get_quantization_flag(flag)
