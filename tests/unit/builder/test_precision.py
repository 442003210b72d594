"""Precision as a build sees it: the options, the choice between times, and what the report says."""

from __future__ import annotations

import json

import numpy as np
import pytest

import engineworks
from engineworks.builder.calibrated_build import NoRanges
from engineworks.builder.config import BuildConfig
from engineworks.builder.precision import PrecisionChooser, allowed_precisions, narrow_work
from engineworks.codegen.llvm.function import AVX512
from engineworks.core import dtypes
from engineworks.errors import BuildError
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.kernels.backend import Candidate
from engineworks.kernels.cpu.backend import BACKEND as CPU
from engineworks.kernels.workload import Workload

AMX = AVX512.with_extras("amx-tile", "amx-bf16", "amx-int8", "avx512bf16", "avx512vnni")


def _graph() -> Graph:
    rng = np.random.default_rng(0)
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (64, 256))
    with g.origin("fc"):
        g.output(g.matmul(x, rng.normal(0, 0.1, (256, 128)).astype(np.float32)), "y")
    return g.graph


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp64"}, "no precision is called 'fp64'"),
        ({"precision": ("bf16", "half")}, "no precision is called 'half'"),
        ({"layer_precisions": {"fc": "best"}}, "'best' for 'fc' is no precision"),
        ({"precision_constraints": "must"}, "none of 'obey', 'prefer', 'none'"),
        ({"max_clipped": 2.0}, "not a share"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        BuildConfig(**options)


def test_names_come_alone_with_commas_and_in_sets() -> None:
    assert BuildConfig(precision="bf16, int8").precisions == {"bf16", "int8"}
    assert BuildConfig(precision={"fp16"}).precisions == {"fp16"}
    assert allowed_precisions(BuildConfig(), CPU, AMX) == frozenset()
    assert allowed_precisions(BuildConfig(precision="best"), CPU, AMX) == {"bf16", "fp16", "int8"}
    assert allowed_precisions(BuildConfig(precision="best"), CPU, AVX512) == {"fp16"}


class _Times:
    """A tuner that knows seconds by the dtype of the left operand."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds

    def prepare(self, problems: object, progress: object) -> None: ...

    def measure(self, work: Workload, candidates: list[Candidate]) -> dict[str, float | str]:
        assert work.inputs[0] is not None and work.inputs[1] is not None
        time = self.seconds[f"{work.inputs[0].type.dtype}x{work.inputs[1].type.dtype}"]
        return {c.tactic.text(): time for c in candidates}


@pytest.mark.parametrize(
    ("times", "possible", "chosen", "reason"),
    [
        ({"f32xf32": 2e-3, "bf16xbf16": 1e-3}, ["bf16"], "bf16", "2.0x faster than fp32 (measured)"),
        ({"f32xf32": 1e-3, "bf16xbf16": 2e-3}, ["bf16"], "fp32", "bf16 would be 2.0x slower (measured)"),
        ({"f32xf32": 1e-3, "bf16xbf16": 1e-3}, ["bf16"], "fp32", "bf16 would be no faster (measured)"),
        ({"f32xf32": 4e-3, "bf16xbf16": 2e-3, "i8xi8": 1e-3}, ["int8", "bf16"], "int8", "4.0x faster than fp32 (measured)"),
        ({"f32xf32": 1e-3, "f32xf16": 1.05e-3}, ["fp16"], "fp16", "half the weights at 1.0x the speed of fp32 (measured)"),
        ({"f32xf32": 1e-3, "f32xf16": 2e-3}, ["fp16"], "fp32", "fp16 would be 2.0x slower (measured)"),
    ],
)  # fmt: skip
def test_the_faster_precision_is_taken(times: dict, possible: list[str], chosen: str, reason: str) -> None:
    graph = _graph()
    # Behind a relu: its kernel makes the narrow form, so no conversion is counted.
    g = GraphBuilder(graph)
    node = graph.nodes[0]
    node.set_input(0, g.relu(graph.inputs[0]))
    chooser = PrecisionChooser(CPU, AMX, _Times(**times), effort=1)
    assert chooser.choose(node, ["fp32", *possible]) == (chosen, reason)


def test_what_is_timed_is_the_narrow_problem() -> None:
    work = narrow_work(_graph().nodes[0], "int8")
    assert [str(w.type.dtype) for w in work.inputs if w is not None] == ["i8", "i8"]
    assert work.anchor.out_dtype is dtypes.i32 and work.outputs[0].dtype is dtypes.i8  # type: ignore[union-attr]


def test_the_report_says_what_and_why() -> None:
    engine = engineworks.build(_graph(), effort=0, timing_cache=False, layer_precisions={"f*": "bf16"})
    (found,) = json.loads(engine.report)["precisions"]
    assert found == {
        "origin": ["fc"], "op": "matmul", "precision": "bf16", "reason": "asked for by layer_precisions",
    }  # fmt: skip


def test_a_calibration_cache_that_is_not_there_is_asked_for(tmp_path) -> None:
    with pytest.raises(BuildError, match="no calibration cache .*engineworks calibrate"):
        engineworks.build(_graph(), effort=0, precision="int8", calibration_cache=tmp_path / "none.cache")


def test_int8_without_ranges_is_warned_of() -> None:
    with pytest.warns(NoRanges, match="int8 is allowed, and no product computes in it"):
        engine = engineworks.build(_graph(), precision=("bf16", "int8"), effort=0)
    assert json.loads(engine.report)["warnings"]
