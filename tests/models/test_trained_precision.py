"""Trained networks do in every precision what they are for: classes, text, similarities, kinds of files."""

from __future__ import annotations

import functools

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("PIL")

import engineworks  # noqa: E402  after the packages it needs are known to be there
import engineworks.tensorrt as trt  # noqa: E402
from benchmarks import (  # noqa: E402
    trained,
    trained_files,
    trained_held_out,
    trained_pages,
    trained_photographs,
    trained_sentences,
)
from benchmarks.models.packaged import PackageMissing  # noqa: E402
from engineworks.builder import report  # noqa: E402

FLOATS_LOSE, INT8_LOSES = 0.001, 0.01
"""Of the score in fp32, at most."""


def _task(name: str) -> trained.Task:
    try:
        return trained.get(name)
    except PackageMissing as missing:
        pytest.skip(str(missing))


@functools.cache
def _precisions(data: bytes) -> set[str]:
    return {product.precision for product in report.decode(data).precisions}


def _runs(task: trained.Task, precision: str, **options) -> dict[str, trained.Run]:
    """Every network of the task in a precision that is in use somewhere in each of them."""
    runs = {}
    for name, network in task.networks.items():
        data = {"calibrate": network.calibration} if precision == "int8" else {}
        engine = engineworks.build(
            network.path, effort=0, threads=2, precision=precision, **data, **network.shapes, **options
        )
        runs[name] = engine.run
        if precision in ("bf16", "int8"):
            assert precision in _precisions(engine.report), name
    return runs


def _score(task: trained.Task, precision: str, **options) -> float:
    return task.score(_runs(task, precision, **options))


@functools.cache
def _runs_by_entropy(name: str) -> dict[str, trained.Run]:
    return _runs(_task(name), "int8", calibration_method="entropy")


def _in_fp32(task: trained.Task) -> dict[str, trained.Run]:
    return {name: trained.onnxruntime_run(network.path) for name, network in task.networks.items()}


@pytest.mark.parametrize("name", ["pages", "files"])
def test_what_is_known_is_found_in_fp32(name: str) -> None:
    task = _task(name)
    assert task.score(_in_fp32(task)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photographs", "sentences"])
def test_fp32_engines_keep_the_score(name: str) -> None:
    assert _score(_task(name), "fp32") == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", trained.TASKS)
def test_half_precisions_keep_the_score(name: str, precision: str) -> None:
    assert _score(_task(name), precision) >= 1 - FLOATS_LOSE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::engineworks.builder.calibrated_build.ClippedRange")
@pytest.mark.parametrize("name", trained.TASKS)
def test_int8_by_entropy_keeps_the_score(name: str) -> None:
    assert _task(name).score(_runs_by_entropy(name)) >= 1 - INT8_LOSES


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::engineworks.builder.calibrated_build.ClippedRange")
@pytest.mark.parametrize("name", trained.TASKS)
def test_int8_by_entropy_keeps_the_score_on_held_out_data(name: str) -> None:
    task = _task(name)
    assert task.held_out(_runs_by_entropy(name)) >= (1 - INT8_LOSES) * task.held_out(_in_fp32(task))


@pytest.mark.slow
def test_int8_by_minmax_keeps_the_score() -> None:
    assert _score(_task("photographs"), "int8", calibration_method="minmax") >= 1 - INT8_LOSES


def test_photographs_are_known_and_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    network = _task("photographs").networks["classifier"]
    run = trained.onnxruntime_run(network.path)
    images = np.stack([trained_photographs.whole(name) for name in trained_photographs.KNOWN])
    logits = trained_photographs.classify(run, images)
    assert logits.argmax(1).tolist() == list(trained_photographs.KNOWN.values())
    with torch.no_grad():
        wanted = trained_photographs.module()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-4)


def test_related_sentences_are_near_and_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    network = _task("sentences").networks["encoder"]
    run = trained.onnxruntime_run(network.path)
    cosines = trained_sentences.similarities(run)
    assert trained_sentences.right_answers(cosines) == 1
    assert np.diag(cosines).mean() > 0.5
    assert cosines.mean() < 0.2
    batch = trained_sentences.tokens(trained_sentences.OTHERS[:8])
    with torch.no_grad():
        wanted = trained_sentences.module()(*map(torch.from_numpy, batch.values()))[1].numpy()
    np.testing.assert_allclose(run(**batch)["embedding"], wanted, atol=1e-5)


def test_calibration_data_is_disjoint_from_what_is_scored() -> None:
    scored_sentences = {*trained_sentences.PAIRS, *trained_sentences.PAIRS.values()}
    assert not set(trained_sentences.OTHERS) & scored_sentences
    held_out = {*trained_held_out.PAIRS, *trained_held_out.PAIRS.values()}
    assert len(held_out) == 64
    assert not held_out & {*scored_sentences, *trained_sentences.OTHERS}
    assert not set(trained_held_out.PICTURES) & set(trained_photographs.PHOTOGRAPHS)
    assert not set(trained_pages.OTHERS) & set(trained_pages.PRINTED)
    scored, others = (set(trained_files.made(seed).values()) for seed in (0, 1))
    assert not scored & others


@pytest.mark.parametrize(
    ("a", "b", "wanted"), [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)]
)
def test_distance_counts_edits(a: str, b: str, wanted: int) -> None:
    assert trained_pages.distance(a, b) == wanted


class _Files(trt.IInt8EntropyCalibrator2):
    """magika's calibration data by address, with the cache in memory."""

    def __init__(self, cache: bytes | None = None) -> None:
        super().__init__()
        self.cache, self.batches, self.given = cache, list(trained_files.calibration()), 0

    def get_batch_size(self) -> int:
        return trained_files.BATCH

    def get_batch(self, names):
        if not self.batches:
            return None
        self.current, self.given = self.batches.pop(0)[names[0]], self.given + 1
        return [self.current.ctypes.data]

    def read_calibration_cache(self):
        return self.cache

    def write_calibration_cache(self, cache) -> None:
        self.cache = bytes(cache)


def _plan(network: trained.Network, calibrator: trt.IInt8Calibrator) -> bytes:
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    parsed = builder.create_network()
    assert trt.OnnxParser(parsed, builder.logger).parse_from_file(str(network.path))
    for tensor in (parsed.get_input(k) for k in range(parsed.num_inputs)):
        tensor.shape = network.shapes["fixed_shapes"][tensor.name]
    config = builder.create_builder_config()
    config.builder_optimization_level = 0
    config.set_flag(trt.BuilderFlag.INT8)
    config.int8_calibrator = calibrator
    plan = builder.build_serialized_network(parsed, config)
    assert plan is not None
    return bytes(plan)


@pytest.mark.slow
def test_a_tensorrt_program_calibrates_once_and_then_reads_its_cache() -> None:
    task = _task("files")
    network = task.networks["classifier"]
    first, second = _Files(), _Files()
    plan = _plan(network, first)
    second.cache = first.cache
    assert _plan(network, second) == plan
    assert first.given == len(_Files().batches) and second.given == 0
    engine = engineworks.load(plan)
    assert "int8" in _precisions(engine.report)
    assert task.score({"classifier": engine.run}) >= 1 - INT8_LOSES
