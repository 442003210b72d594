"""Whole networks on the emulated GPU: its kernels, records, graphs and memory plan."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.runtime.capture import capture
from engineworks.runtime.engine import Engine
from engineworks.testing.emulated_gpu import build_and_run, build_emulated, emulated_device
from tests.gpu.networks import NETWORKS, RANGES, dynamic


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_onnx_says(name):
    network = NETWORKS[name]()
    found = build_and_run(network.content, network.inputs, tf32=False)
    for output, wanted in network.expected().items():
        assert found[output].shape == wanted.shape
        np.testing.assert_allclose(found[output], wanted, rtol=1e-4, atol=1e-5)


def test_one_engine_serves_all_shapes_of_its_profile():
    device = emulated_device()
    content = build_emulated(dynamic(1).content, profile=RANGES, tf32=False)
    context = Engine.open(content, device=device).context()
    for rows in (1, 33, 1):
        network = dynamic(rows)
        found = context.run(**network.inputs)
        np.testing.assert_allclose(found["y"], network.expected()["y"], rtol=1e-4, atol=1e-6)
    assert len([n for what, n in device.driver.log if what == "capture"]) == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_records_run_one_by_one_give_the_same(name):
    network = NETWORKS[name]()
    engine = Engine.open(build_emulated(network.content, tf32=False), device=emulated_device())
    values = {c.name: c.array for c in capture(engine.context(), **network.inputs)}
    for output, wanted in network.expected().items():
        np.testing.assert_allclose(values[output], wanted, rtol=1e-4, atol=1e-5)
