"""Every op × example on a real GPU, by the kernels that are predicted best: what the interpreter cannot show."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.builder.build import build_bytes
from engineworks.builder.config import BuildConfig
from engineworks.ir.interpret import interpret
from engineworks.runtime.engine import Engine
from engineworks.testing.compare import assert_close
from engineworks.testing.inputs import Case, cases
from tests.conformance.cuda_workloads import allowed

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("case", list(cases()), ids=lambda c: c.label)
def test_gpu_computes_the_reference(case: Case) -> None:
    feeds = case.feeds()
    expected = interpret(case.graph(), feeds)
    graph = case.graph()
    config = BuildConfig(target="cuda", effort=0, timing_cache=False, tf32=False)
    engine = Engine.open(build_bytes(graph, config))
    with np.errstate(all="ignore"):
        results = engine.run(**feeds)
    for (name, right), value in zip(expected.items(), graph.outputs, strict=True):
        assert_close(results[name], right, allowed(case, right, value.type), name)
