"""Builds for several targets: each plan is that of a build for it alone, and equal weights are there once."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import engineworks
import engineworks.ops  # registers the ops
from engineworks.builder.assembly import assemble
from engineworks.builder.build import build_bytes, build_engine
from engineworks.builder.config import BuildConfig
from engineworks.builder.report import decode
from engineworks.core import dtypes
from engineworks.core.target import V4, host
from engineworks.engine import container
from engineworks.engine.variants import plan
from engineworks.errors import BuildError, EngineMismatch
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.runtime.device import find
from engineworks.runtime.engine import Engine
from engineworks.testing.emulated_gpu import EmulatedDriver, emulated_backend, emulated_device

QUICK: dict[str, Any] = {"effort": 0, "timing_cache": False, "tactic_sources": ("triton",)}
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((300, 16)).astype(np.float32)
SQUARE, BIAS = RNG.standard_normal((16, 24)).astype(np.float32), RNG.standard_normal(24).astype(np.float32)
LAST = RNG.standard_normal((24, 5)).astype(np.float32)
PLACES = np.array([3, 299, 0, 7, 7])


def graph() -> Graph:
    """y = relu(table[places] @ square + bias) @ last."""
    g = GraphBuilder(Graph("net"))
    rows = g.gather(g.constant(TABLE), g.input("places", dtypes.i64, (5,)), axis=0)
    hidden = g.relu(g.add(g.matmul(rows, g.constant(SQUARE)), g.constant(BIAS)))
    g.output(g.matmul(hidden, g.constant(LAST)), "y")
    return g.graph


EXPECTED = np.maximum(TABLE[PLACES].astype(np.float64) @ SQUARE + BIAS, 0) @ LAST


def built(target: str, **options) -> bytes:
    config = BuildConfig(**{**QUICK, "target": target, **options})
    backend = emulated_backend() if "cuda" in target else None
    emitted = build_engine(graph(), config, backend=backend)
    return container.encode(emitted.manifest, emitted.sections)


@pytest.fixture(scope="module")
def levels() -> bytes:
    return built("cpu:avx2,cpu:avx512")


@pytest.fixture(scope="module")
def mixed() -> bytes:
    return built("cpu:avx2, cuda:sm_80, cuda:sm_90")


def weights_bytes(file: bytes) -> int:
    return next(s.size for s in container.read(file).manifest.sections if s.name == "weights")


def test_the_highest_level_that_this_machine_has_is_loaded(levels: bytes) -> None:
    best = "x86-64-v4" if set(V4) <= set(host().features) else "x86-64-v3"
    engine = engineworks.load(levels)
    assert engine.manifest.target.arch == best
    np.testing.assert_allclose(engine(places=PLACES)["y"], EXPECTED, rtol=1e-5, atol=1e-5)


def test_each_plan_for_a_cpu_computes_the_same_from_a_mapped_file(levels: bytes, tmp_path) -> None:
    (tmp_path / "fat.engine").write_bytes(levels)
    file = container.read(tmp_path / "fat.engine")
    for number, variant in enumerate(file.manifest.variants):
        taken = plan(file, number)
        assert taken.is_mapped
        taken.verify()
        if set(variant.target.features) <= set(host().features):
            engine = Engine(taken, find("cpu"), whole=file)
            np.testing.assert_allclose(engine(places=PLACES)["y"], EXPECTED, rtol=1e-5, atol=1e-5)


def test_equal_weights_are_there_once(levels: bytes) -> None:
    alone = [weights_bytes(built(t)) for t in ("cpu:avx2", "cpu:avx512")]
    assert max(alone) <= weights_bytes(levels) <= sum(alone) - TABLE.nbytes


def test_a_gpu_takes_its_own_plan_and_uploads_only_its_weights(mixed: bytes) -> None:
    for arch in ("sm_80", "sm_90"):
        device = emulated_device(arch)
        engine = Engine.open(mixed, device=device)
        assert (engine.manifest.target.device, engine.manifest.target.arch) == ("cuda", arch)
        assert isinstance(device.driver, EmulatedDriver)
        uploaded = [size for what, size in device.driver.log if what == "upload"]
        assert uploaded == [weights_bytes(built(f"cuda:{arch}"))]
        np.testing.assert_allclose(engine(places=PLACES)["y"], EXPECTED, rtol=2e-3, atol=2e-2)


def test_a_machine_without_a_gpu_takes_the_plan_for_its_cpu(mixed: bytes, caplog) -> None:
    with caplog.at_level(logging.INFO, "engineworks"):
        engine = engineworks.load(mixed)
    assert "plan 0, for cpu:x86-64-v3, is loaded" in caplog.text
    np.testing.assert_allclose(engine(places=PLACES)["y"], EXPECTED, rtol=1e-5, atol=1e-5)


def test_a_plan_is_that_of_a_build_for_its_target_alone(mixed: bytes) -> None:
    file = container.read(mixed)
    for number, target in enumerate(("cpu:avx2", "cuda:sm_80", "cuda:sm_90")):
        taken = plan(file, number)
        assert container.encode(taken.manifest, taken.sections) == built(target)


def test_an_engine_is_saved_whole_whatever_plan_was_loaded(mixed: bytes, tmp_path) -> None:
    on_cpu, on_gpu = Engine.open(mixed), Engine.open(mixed, device=emulated_device())
    assert on_cpu.serialize() == on_gpu.serialize() == mixed
    assert on_cpu.save(tmp_path / "again.engine") == len(mixed)
    assert b"cuda:sm_90" in on_gpu.report
    assert b"cpu:x86-64-v3" in on_cpu.report


def test_build_gives_the_engine_that_runs_here() -> None:
    engine = engineworks.build(graph(), target="cpu:avx2,cuda:sm_90", effort=0, timing_cache=False)
    assert engine.manifest.target.device == "cpu"
    np.testing.assert_allclose(engine(places=PLACES)["y"], EXPECTED, rtol=1e-5, atol=1e-5)


def test_a_graph_is_left_as_it_was() -> None:
    model = graph()
    before = [str(n.op) for n in model.nodes]
    build_bytes(model, BuildConfig(target="cpu:avx2,cpu:avx512", effort=0, timing_cache=False))
    assert [str(n.op) for n in model.nodes] == before


def product() -> Graph:
    """y = x @ square, of enough rows to pack the square."""
    g = GraphBuilder(Graph("product"))
    g.output(g.matmul(g.input("x", dtypes.f32, (64, 16)), g.constant(SQUARE)), "y")
    return g.graph


def test_a_plan_for_a_cpu_begins_where_its_own_weights_do() -> None:
    x = RNG.standard_normal((64, 16)).astype(np.float32)
    config = BuildConfig(**{**QUICK, "target": "cuda:sm_90,cpu:avx2"})
    emitted = build_engine(product(), config, backend=emulated_backend())
    (piece,) = emitted.manifest.variants[1].weights
    assert piece.offset >= SQUARE.nbytes
    assert piece.size < 2 * SQUARE.nbytes
    engine = Engine.open(container.encode(emitted.manifest, emitted.sections))
    np.testing.assert_allclose(engine(x=x)["y"], x @ SQUARE, rtol=1e-5, atol=1e-5)


def test_calibration_data_is_run_once_for_all_plans() -> None:
    batches = ({"x": RNG.uniform(-1, 1, (64, 16)).astype(np.float32)} for _ in range(4))
    config = BuildConfig(
        target="cpu:avx2,cpu:avx512",
        layer_precisions={"*": "int8"},
        calibrate=batches,
        effort=0,
        timing_cache=False,
    )
    file = container.read(build_bytes(product(), config))
    first, second = (decode(bytes(file.sections[v.report])).steps for v in file.manifest.variants)
    assert first == second != {}


def test_progress_names_the_target() -> None:
    seen: list[str] = []
    config = BuildConfig(target="cpu:avx2,cpu:avx512", effort=0, timing_cache=False)
    build_engine(graph(), config, lambda done, total, what: seen.append(what))
    assert {text.partition(": ")[0] for text in seen} == {"cpu:avx2", "cpu:avx512"}


@pytest.mark.parametrize("target", ["cpu:avx2,cpu:avx2", "cpu:avx2,", ",", "cpu:avx2, cpu:avx2 "])
def test_a_target_twice_or_missing_is_refused(target: str) -> None:
    with pytest.raises(BuildError, match="names a target twice, or none"):
        BuildConfig(target=target)


def test_two_names_of_one_target_are_refused() -> None:
    with pytest.raises(BuildError, match="'cpu:avx2' and 'cpu:x86-64-v3' are the same here: cpu:x86-64-v3"):
        build_engine(graph(), BuildConfig(target="cpu:avx2,cpu:x86-64-v3", effort=0))


def test_plans_that_take_other_types_are_refused() -> None:
    narrow: dict[str, Any] = {**QUICK, "target": "cuda:sm_90", "precision": "fp16", "keep_io_types": False}
    first = build_engine(product(), BuildConfig(target="cpu:avx2", effort=0, timing_cache=False))
    second = build_engine(product(), BuildConfig(**narrow), backend=emulated_backend())
    with pytest.raises(
        BuildError, match=r"the inputs for cpu:x86-64-v3 are x: f32; for cuda:sm_90 they are x: f16"
    ):
        assemble([first, second])


def test_ampere_plus_is_of_one_plan_and_others_run_on_any_model_of_their_architecture() -> None:
    options: dict[str, Any] = {**QUICK, "hardware_compatibility": "ampere_plus"}
    with pytest.raises(BuildError, match="is for target 'cuda:sm_80'"):
        BuildConfig(target="cpu:avx2,cuda:sm_90", **options)
    config = BuildConfig(target="cpu:avx2,cuda:sm_80,cuda:sm_90", **options)
    emitted = build_engine(graph(), config, backend=emulated_backend())
    compatible = [v.target.compatible for v in emitted.manifest.variants]
    assert compatible == ["", "ampere_plus", "same_compute_capability"]


def test_targets_without_a_machine_for_them_do_not_load_here() -> None:
    with pytest.raises(EngineMismatch, match="has 2 plans, and none of them runs here"):
        Engine.open(built("cuda:sm_80,cuda:sm_90"))
