"""Tuning on a real GPU: times that make sense, caches that are carried, and the same engine from them."""

from __future__ import annotations

from pathlib import Path

import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.builder.build import build_engine
from engineworks.builder.config import BuildConfig
from engineworks.builder.tuning import make_tuner
from engineworks.core import dtypes
from engineworks.core.target import Target
from engineworks.core.types import TensorType
from engineworks.engine.container import encode
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.kernels.backend import find
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.runtime.device import find as find_device
from engineworks.tuner import gpu_facts
from engineworks.tuner.choice import Choice
from engineworks.tuner.choose import Chooser
from engineworks.tuner.measure import ProcessTuner

pytestmark = pytest.mark.gpu
EFFORT = 1


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEWORKS_CACHE_DIR", str(tmp_path / "cache"))


def _target() -> Target:
    return find_device("cuda").target()


def _tuner(path: Path) -> ProcessTuner:
    backend, target = find("cuda"), _target()
    config = BuildConfig(target=str(target), effort=EFFORT, timing_cache=path)
    return make_tuner(
        config, backend, target, backend.isa(target), backend.cache(path.parent / "objects"), {}
    )


def _product(m: int, n: int, k: int) -> Workload:
    left, right = TensorType(dtypes.f16, (m, k)), TensorType(dtypes.f16, (k, n))
    return Workload(
        MatMul(), (Operand(left), Operand(right, constant=True)), 2, (TensorType(dtypes.f16, (m, n)),)
    )


def _choice(tuner: ProcessTuner, work: Workload) -> Choice:
    backend = find("cuda")
    try:
        return Chooser(backend, tuner.isa, EFFORT, tuner).choose_all([(work, "product")])[work.key()]
    finally:
        tuner.close()


def _graph() -> Graph:
    import numpy as np

    g = GraphBuilder()
    x = g.input("x", dtypes.f16, (64, 256))
    weights = np.random.default_rng(0).uniform(-0.1, 0.1, (256, 192)).astype(np.float16)
    g.output(g.relu(g.matmul(x, g.constant(weights))), "y")
    return g.graph


def test_every_candidate_is_right_and_its_time_is_that_of_a_kernel(tmp_path: Path) -> None:
    choice = _choice(_tuner(tmp_path / "t.jsonl"), _product(128, 768, 768))
    assert not [a for a in choice.alternatives if a.rejected]
    assert len(choice.alternatives) > 1
    assert all(a.measured_s and 5e-7 < a.measured_s < 1e-4 for a in choice.alternatives)


def test_a_large_product_comes_near_the_roofline(tmp_path: Path) -> None:
    tuner = _tuner(tmp_path / "t.jsonl")
    choice = _choice(tuner, _product(4096, 4096, 4096))
    assert choice.measured_s is not None
    # pyrefly: ignore[missing-attribute]
    assert 2 * 4096**3 / choice.measured_s > 0.4 * tuner.isa.half_flops


def test_measurements_repeat(tmp_path: Path) -> None:
    times = [_choice(_tuner(tmp_path / f"{k}.jsonl"), _product(256, 1024, 1024)).measured_s for k in range(2)]
    assert times[0] == pytest.approx(times[1], rel=0.1)


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _choice(_tuner(tmp_path / "t.jsonl"), _product(128, 512, 256))
    again = _tuner(tmp_path / "t.jsonl")
    monkeypatch.setattr(ProcessTuner, "_try", lambda *_: pytest.fail("measured again"))
    assert _choice(again, _product(128, 512, 256)).alternatives == first.alternatives


def test_a_carried_cache_builds_the_same_engine_without_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BuildConfig(target=str(_target()), effort=EFFORT, timing_cache=tmp_path / "t.jsonl")
    here = build_engine(_graph(), config)
    monkeypatch.setattr(gpu_facts, "facts_here", lambda tools: None)
    there = build_engine(_graph(), config)
    for made in (here, there):
        made.sections.pop("report")
    assert encode(here.manifest, here.sections) == encode(there.manifest, there.sections)


def test_without_a_cache_on_disk_kernels_are_compiled_and_measured_too() -> None:
    config = BuildConfig(target=str(_target()), effort=EFFORT, timing_cache=False)
    assert b'"measured_s"' in bytes(build_engine(_graph(), config).sections["report"])
