"""What the management library says, and silence where there is none."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from engineworks.tuner import nvml


def _library(slowed_by: int, fails: bool = False) -> SimpleNamespace:
    def text(buffer: Any, size: int) -> int:
        buffer.value = b"580.159.04"
        return int(fails)

    def write(value: int) -> Any:
        def call(*arguments: Any) -> int:
            arguments[-1]._obj.value = value
            return int(fails)

        return call

    return SimpleNamespace(
        nvmlSystemGetDriverVersion=text,
        nvmlDeviceGetHandleByIndex_v2=write(7),
        nvmlDeviceGetClockInfo=write(1980),
        nvmlDeviceGetCurrentClocksThrottleReasons=write(slowed_by),
    )


def test_clock_and_what_slows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_library", lambda: _library(0x4 | 0x20 | 0x40 | 0x1))
    assert nvml.driver_version() == "580.159.04"
    assert nvml.clock() == nvml.Clock(1980, ("power limit", "temperature"))


def test_an_idle_gpu_is_not_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_library", lambda: _library(0x1))
    assert nvml.clock() == nvml.Clock(1980, ())


def test_without_a_library_or_an_answer_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_library", lambda: _library(0, fails=True))
    assert (nvml.driver_version(), nvml.clock()) == (None, None)
    monkeypatch.setattr(nvml, "_library", lambda: None)
    assert (nvml.driver_version(), nvml.clock()) == (None, None)


def test_a_missing_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvml._library.__wrapped__() is None
