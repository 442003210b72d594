"""Layer norms join their products where that was measured to be faster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.builder.norms import NORM_S, NormChooser
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Node
from engineworks.kernels.backend import Candidate, find
from engineworks.kernels.workload import Workload
from engineworks.ops.normalised_matmul import NormalisedMatMul


class _Times:
    """A tuner that answers with one time for products and another for those with a norm in front."""

    def __init__(self, plain_s: float, folded_s: float | str) -> None:
        self.times = {"matmul": plain_s, "normalised_matmul": folded_s}
        self.asked = 0

    def prepare(self, problems: Sequence[object], progress: object) -> None: ...

    def measure(self, work: Workload, candidates: list[Candidate]) -> dict[str, float | str]:
        assert work.anchor is not None
        self.asked += 1
        return {c.tactic.text(): self.times[work.anchor.name] for c in candidates}


def _product() -> tuple[Graph, Node]:
    g = GraphBuilder(Graph("product"))
    x = g.input("x", dtypes.f16, (128, 64))
    weights = g.constant(np.ones((64, 48), np.float16))
    g.output(g.matmul(g.layer_normalization(x, np.ones(64, np.float16)), weights, out_dtype=dtypes.f32), "y")
    return g.graph, next(n for n in g.graph.nodes if n.op.name == "matmul")


def _pays(tuner: _Times | None, times: int = 1) -> bool:
    graph, node = _product()
    chooser = NormChooser(find("cuda"), gpu_of("sm_90"), tuner, 1)
    op = NormalisedMatMul(epsilon=1e-5, out_dtype=dtypes.f32)
    return chooser.pays(graph.inputs[0], [(node, op)] * times)


@pytest.mark.parametrize(
    ("plain_s", "folded_s", "pays"),
    [(4e-6, 5e-6, True), (4e-6, 6e-6, False), (4e-6, "wrong result", False)],
)
def test_the_faster_way_is_taken(plain_s: float, folded_s: float | str, pays: bool) -> None:
    assert 1e-6 < NORM_S < 2e-6, "the cases are meant for this"
    assert _pays(_Times(plain_s, folded_s)) is pays


def test_each_product_adds_its_loss_and_the_norm_is_saved_once() -> None:
    tuner = _Times(4e-6, 5e-6)
    assert not _pays(tuner, times=2)
    assert tuner.asked == 2, "one problem with the norm and one without are asked for once each"


def test_nothing_joins_unmeasured() -> None:
    assert not _pays(None)
