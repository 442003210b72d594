"""Whole networks on a real GPU, with host arrays and with torch's."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.builder.build import build_bytes
from engineworks.builder.config import BuildConfig
from engineworks.runtime.capture import capture
from engineworks.runtime.device import find
from engineworks.runtime.engine import Engine
from tests.gpu.networks import NETWORKS, RANGES, Network, dynamic

torch = pytest.importorskip("torch", reason="the arrays of these tests are torch's")


pytestmark = pytest.mark.gpu


def build(network: Network, **options) -> Engine:
    config = BuildConfig(
        target=f"cuda:{find('cuda').target().arch}", effort=0, timing_cache=False, tf32=False, **options
    )
    return Engine.open(build_bytes(network.content, config))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_onnx_says(name):
    network = NETWORKS[name]()
    context = build(network).context()
    wanted = network.expected()
    on_gpu = {k: torch.from_numpy(v).cuda() for k, v in network.inputs.items()}
    for _ in range(3):
        for found in (context.run(**network.inputs), context.run(**on_gpu)):
            for output, array in wanted.items():
                there = found[output]
                host = there.cpu().numpy() if isinstance(there, torch.Tensor) else there
                assert host.shape == array.shape
                np.testing.assert_allclose(host, array, rtol=1e-4, atol=1e-5)


def test_one_engine_serves_all_shapes_of_its_profile():
    context = build(dynamic(1), profile=RANGES).context()
    for rows in (1, 33, 64, 1, 2):
        network = dynamic(rows)
        np.testing.assert_allclose(
            context.run(**network.inputs)["y"], network.expected()["y"], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_records_run_one_by_one_give_the_same(name):
    network = NETWORKS[name]()
    values = {c.name: c.array for c in capture(build(network).context(), **network.inputs)}
    for output, array in network.expected().items():
        np.testing.assert_allclose(values[output], array, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_record_that_runs_has_a_time(name):
    network = NETWORKS[name]()
    times = build(network).context().profile(10, **network.inputs)
    assert times
    for time in times:
        assert 0 < time.duration_s / time.visits < 1e-3
