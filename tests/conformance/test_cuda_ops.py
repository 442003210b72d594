"""Every op × example as an engine for cuda, whose kernels Triton's interpreter runs here: open sizes, and pinned ones."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("triton", reason="building for cuda needs it")

import engineworks.ops  # noqa: E402, F401  (registers the ops)
from engineworks.core.types import TensorType  # noqa: E402
from engineworks.ir.interpret import interpret  # noqa: E402
from engineworks.testing.compare import Tolerance, assert_close, tolerance  # noqa: E402
from engineworks.testing.emulated_gpu import build_and_run  # noqa: E402
from engineworks.testing.inputs import Case, cases  # noqa: E402

ALL = list(cases())


def _allowed(case: Case, output: np.ndarray, type_: TensorType) -> Tolerance:
    largest = max([int(np.size(a)) for a in case.arrays() if a is not None], default=1)
    length = max(1, largest // max(1, output.size))
    return tolerance(type_.dtype, length, ("exp", "log", "div", "pow"), case.example.rtol)


def _check(case: Case, **options: object) -> None:
    graph, feeds = case.graph(), case.feeds()
    expected = interpret(case.graph(), feeds)
    results = build_and_run(graph, feeds, **options)
    for (name, right), value in zip(expected.items(), graph.outputs, strict=True):
        assert_close(results[name], right, _allowed(case, right, value.type), name)


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.label)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_engine_computes_the_reference(case: Case) -> None:
    _check(case)


@pytest.mark.parametrize("case", [c for c in ALL if c.dims], ids=lambda c: c.label)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_engine_for_pinned_sizes_computes_the_reference(case: Case) -> None:
    _check(case, fixed_shapes={name: array.shape for name, array in case.feeds().items()})
