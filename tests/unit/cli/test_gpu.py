"""Timing an engine on a GPU, emulated here."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.builder.layer_times import layer_times
from engineworks.cli.gpu import DeviceRun
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.runtime.engine import Engine
from engineworks.testing.emulated_gpu import emulated_backend, emulated_device
from tests.gpu.engines import chain


def test_inputs_are_copied_once_and_inference_is_timed_by_events() -> None:
    device = emulated_device()
    engine = Engine.open(chain(emulated_backend(), "sm_90"), device=device)
    a, b = np.random.default_rng(0).random((2, 300), np.float32)
    context = engine.context()
    run = DeviceRun(context, {"a": a, "b": b}, device.driver)
    assert run() == pytest.approx(1e-6)
    device.driver.log.clear()
    run()
    assert not [what for what, _ in device.driver.log if what in ("upload", "download", "copy")]
    np.testing.assert_allclose(context.execute()["y"].numpy(), 4 * (a + b) + 3, rtol=1e-6)


def test_launches_of_a_group_are_one_layer_with_its_share_of_the_roofline() -> None:
    report = {"groups": [{
        "number": "3", "tactic": "cuda.matmul t", "origin": ["fc"], "ops": ["matmul()", "add()"],
        "outputs": ["f16[64, 64]"], "flops": 660e6, "bytes_moved": 1e3,
    }]}  # fmt: skip
    fast, slow = layer_times(report, [("3", "t", 1e-6), ("9", "copy", 3e-6), ("3", "t", 1e-6)])[::-1]
    assert (slow.group, slow.tactic, slow.launches) == ("9", "copy", 1)
    assert (fast.ops, fast.launches, fast.seconds) == (("matmul", "add"), 2, 2e-6)
    assert fast.of_roofline(gpu_of("sm_90")) == pytest.approx(0.5)
    assert slow.of_roofline(gpu_of("sm_90")) == 0.0
