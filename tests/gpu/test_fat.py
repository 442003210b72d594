"""Files with plans for several targets on a machine that has a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.builder.build import build_bytes
from engineworks.builder.config import BuildConfig
from engineworks.engine import container
from engineworks.engine.variants import plan
from engineworks.errors import EngineMismatch
from engineworks.runtime.device import find
from engineworks.runtime.engine import Engine
from tests.gpu.networks import NETWORKS

pytestmark = pytest.mark.gpu
OTHERS = {"sm_80", "sm_90", "sm_100"}


def _config(target: str, **options) -> BuildConfig:
    return BuildConfig(target=target, effort=0, timing_cache=False, tf32=False, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plan_for_this_gpu_is_loaded_and_others_compute_the_same(name):
    network = NETWORKS[name]()
    here = find("cuda").target().arch
    other = min(OTHERS - {here})
    file = build_bytes(network.content, _config(f"cpu:avx2,cuda:{other},cuda:{here}"))
    engine = Engine.open(file)
    assert (engine.manifest.target.device, engine.manifest.target.arch) == ("cuda", here)
    for loaded in (engine, Engine.open(file, device=find("cpu"))):
        for output, array in network.expected().items():
            np.testing.assert_allclose(loaded.run(**network.inputs)[output], array, rtol=1e-4, atol=1e-5)


def test_the_cpu_serves_where_no_plan_is_for_this_gpu():
    network = next(iter(NETWORKS.values()))()
    other = min(OTHERS - {find("cuda").target().arch})
    file = build_bytes(network.content, _config(f"cuda:{other},cpu:avx2"))
    assert Engine.open(file).manifest.target.device == "cpu"
    with pytest.raises(EngineMismatch, match=f"cuda:{other}: architecture"):
        Engine.open(file, device=find("cuda"))


def test_a_plan_for_every_gpu_from_ampere_on_is_translated_here():
    network = next(iter(NETWORKS.values()))()
    config = _config("cuda:sm_80,cpu:avx2", hardware_compatibility="ampere_plus")
    file = build_bytes(network.content, config)
    engine = Engine.open(file)
    assert engine.manifest.target.arch == "sm_80"
    for output, array in network.expected().items():
        np.testing.assert_allclose(engine.run(**network.inputs)[output], array, rtol=1e-4, atol=1e-5)
    assert engine.manifest == plan(container.read(file), 0).manifest
