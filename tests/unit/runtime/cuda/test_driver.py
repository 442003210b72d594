"""What is said where there is no GPU, no driver or no bindings."""

from __future__ import annotations

import ctypes
import sys

import pytest

from engineworks.errors import EngineMismatch, MissingExtra
from engineworks.runtime.cuda.driver import bindings
from engineworks.runtime.device import find
from engineworks.runtime.engine import Engine
from engineworks.testing.emulated_gpu import emulated_backend
from tests.gpu.engines import chain


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(_has_driver(), reason="this machine has NVIDIA's driver")
def test_a_machine_without_a_gpu_says_so():
    with pytest.raises(
        EngineMismatch, match=r"this machine has no NVIDIA GPU, or no driver for it"
    ) as caught:
        Engine.open(chain(emulated_backend()))
    assert "--target cpu" in str(caught.value)


def test_missing_bindings_name_the_command_that_installs_them(monkeypatch):
    bindings.cache_clear()
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(MissingExtra, match=r"pip install 'engineworks\[cuda\]'"):
        find("cuda")


def test_there_is_one_cpu():
    with pytest.raises(EngineMismatch, match="there is no CPU device 3"):
        find("cpu", 3)
