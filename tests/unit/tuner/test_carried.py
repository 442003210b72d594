"""A timing cache filled on a machine with a GPU chooses the same kernels on one without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engineworks.builder.config import BuildConfig
from engineworks.builder.tuning import make_tuner
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.target import parse
from engineworks.core.types import TensorType
from engineworks.kernels.backend import Candidate, find
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.tuner import gpu_facts
from engineworks.tuner.cache import TimingCache, cache_key
from engineworks.tuner.choice import Choice
from engineworks.tuner.choose import Chooser
from engineworks.tuner.measure import ProcessTuner

TARGET, GPU = parse("cuda:sm_90"), gpu_of("sm_90")
H200 = {"arch": "sm_90", "gpu": "NVIDIA H200", "processors": "132", "cuda": "13.0", "driver": "580.1"}


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_facts, "facts_here", lambda tools: None)


def _product(rows: int) -> Workload:
    left, right = TensorType(dtypes.f16, (rows, 256)), TensorType(dtypes.f16, (256, 512))
    return Workload(
        MatMul(), (Operand(left), Operand(right, constant=True)), 2, (TensorType(dtypes.f16, (rows, 512)),)
    )


def _candidates(work: Workload) -> list[Candidate]:
    return find("cuda").propose(work, GPU, 1)[0]


def _fill(path: Path, work: Workload, facts: dict[str, str], fastest: int) -> str:
    """Times of all candidates, as a build on that GPU would write them; the fastest one's text."""
    cache, conditions = TimingCache(path), gpu_facts.conditions_of(facts)
    cache.add_facts(facts)
    candidates = _candidates(work)
    for number, c in enumerate(candidates):
        key = cache_key(work, c.provider, c.tactic, conditions, {})
        cache.add(key, 1e-6 if number == fastest else 1e-5 + number * 1e-6, "")
    return candidates[fastest].tactic.text()


def _tuner(path: Path) -> ProcessTuner:
    backend = find("cuda")
    config = BuildConfig(target="cuda:sm_90", effort=1, timing_cache=path)
    return make_tuner(config, backend, TARGET, GPU, backend.cache(None), {})


def _choice(tuner: ProcessTuner, work: Workload) -> Choice:
    return Chooser(find("cuda"), GPU, 1, tuner).choose_all([(work, "product")])[work.key()]


def _facts(**changes: str) -> dict[str, str]:
    return H200 | {"tools": find("cuda").tools()} | changes


def test_times_of_another_machine_choose(tmp_path: Path) -> None:
    work, path = _product(128), tmp_path / "h200.jsonl"
    fastest = _fill(path, work, _facts(), fastest=2)
    tuner = _tuner(path)
    choice = _choice(tuner, work)
    assert choice.tactic.text() == fastest and choice.measured_s == 1e-6
    assert tuner.facts == _facts()
    assert "NVIDIA H200" in " ".join(tuner.warnings()) and len(tuner.warnings()) == 1


def test_the_newest_gpu_of_the_architecture_is_taken_and_no_other(tmp_path: Path) -> None:
    work, path = _product(128), tmp_path / "both.jsonl"
    newest = _fill(path, work, _facts(), fastest=1)
    other = tmp_path / "h100.jsonl"
    _fill(other, work, _facts(gpu="NVIDIA H100"), fastest=3)
    path.write_bytes(other.read_bytes() + path.read_bytes())
    assert _choice(_tuner(path), work).tactic.text() == newest


def test_a_build_without_times_says_so_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _tuner(tmp_path / "none.jsonl")
    assert "no cuda:sm_90 here: kernels are predicted, not measured" in caplog.text


def test_problems_that_are_not_in_the_cache_are_predicted_and_told_of(tmp_path: Path) -> None:
    path = tmp_path / "h200.jsonl"
    _fill(path, _product(128), _facts(), fastest=1)
    tuner, work = _tuner(path), _product(64)
    choice = _choice(tuner, work)
    assert choice.measured_s is None and choice.tactic == _candidates(work)[0].tactic
    assert "1 problems were predicted" in " ".join(tuner.warnings())


@pytest.mark.parametrize("changed", [{"arch": "sm_80"}, {"tools": "triton 0.0.1"}])
def test_times_of_other_hardware_or_tools_are_not_used(tmp_path: Path, changed: dict[str, str]) -> None:
    work, path = _product(128), tmp_path / "other.jsonl"
    _fill(path, work, _facts(**changed), fastest=2)
    choice = _choice(_tuner(path), work)
    assert choice.measured_s is None and choice.tactic == _candidates(work)[0].tactic


def test_facts_are_written_once_in_front_of_what_they_describe(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for _ in range(2):
        cache = TimingCache(path)
        cache.add_facts(H200)
        cache.add_facts(H200)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"facts": H200}]
    assert TimingCache(path).facts == [H200] and TimingCache(path).damaged == 0
