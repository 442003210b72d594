"""Random graphs: engines compute what the graph means; each pass keeps the graph consistent and its meaning."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import engineworks
import engineworks.ops
from engineworks.errors import InvalidModel
from engineworks.ir.graph import Graph
from engineworks.ir.interpret import interpret
from engineworks.testing.graphs import arrays_for, random_graph

EXAMPLES = int(os.environ.get("ENGINEWORKS_TEST_EXAMPLES", "25"))
ALLOWED = 2e-4
SIZES = (1, 2, 7)
SLOW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def _difference(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest difference between outputs, in parts of the largest value where that is above one."""
    worst = 0.0
    for name, wanted in expected.items():
        assert actual[name].shape == wanted.shape and actual[name].dtype == wanted.dtype
        if wanted.size:
            scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)))
            same = (actual[name] == wanted) | (np.isnan(actual[name]) & np.isnan(wanted))
            with np.errstate(invalid="ignore"):
                error = np.where(same, 0.0, np.abs(actual[name] - wanted))
            worst = max(worst, float(np.nan_to_num(error, nan=np.inf).max()) / scale)
    return worst


def _grow(data: st.DataObject, *, dims: tuple[int, int] | None) -> Graph:
    graph = random_graph(lambda n: data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, 9)), dims)
    assume(graph.nodes)
    return graph


def _meaning(graph: Graph, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The outputs; None where a window is larger than what it slides over at this size."""
    try:
        return interpret(graph, arrays)
    except InvalidModel:
        return None


def _profile(graph: Graph, dims: tuple[int, int]) -> dict[str, tuple]:
    def at(n: int, shape: tuple) -> tuple[int, ...]:
        return tuple(d if isinstance(d, int) else n for d in shape)

    return {v.name: tuple(at(n, v.type.shape) for n in (dims[0], dims[1], dims[1])) for v in graph.inputs}


@SLOW
@given(st.data())
def test_static_engine_computes_what_the_graph_means(data: st.DataObject) -> None:
    graph = _grow(data, dims=None)
    arrays = arrays_for(graph, {})
    expected = interpret(graph, arrays)
    engine = engineworks.build(graph, effort=0, threads=1, timing_cache=False, verify=True)
    assert _difference(engine(**arrays), expected) < ALLOWED


@SLOW
@given(st.data())
def test_dynamic_engine_computes_what_the_graph_means_at_every_size(data: st.DataObject) -> None:
    graph = _grow(data, dims=(1, 7))
    arrays = {n: arrays_for(graph, {"N": n}) for n in SIZES}
    expected = {n: _meaning(graph, arrays[n]) for n in SIZES}
    profile = _profile(graph, (1, 7))
    engine = engineworks.build(graph, effort=0, threads=2, timing_cache=False, verify=True, profile=profile)
    for n, wanted in expected.items():
        if wanted is not None:
            assert _difference(engine(**arrays[n]), wanted) < ALLOWED, f"N={n}"


@pytest.mark.parametrize("symbolic", [False, True])
@SLOW
@given(st.data())
def test_every_pass_keeps_the_meaning(symbolic: bool, data: st.DataObject) -> None:
    from engineworks.builder.build import canonical_passes, optimising_passes
    from engineworks.codegen.llvm.function import AVX2
    from engineworks.ir.rewriter import Rewriter
    from engineworks.ir.verify import verify
    from engineworks.kernels.cpu.backend import BACKEND

    graph = _grow(data, dims=(1, 7) if symbolic else None)
    arrays = arrays_for(graph, {"N": 3})
    expected = _meaning(graph, arrays)
    assume(expected is not None)
    rewriter = Rewriter(graph)
    for each in (*canonical_passes(), *optimising_passes(BACKEND, AVX2)):
        each.run(rewriter)
        rewriter.tidy()
        verify(graph, after=each.name)
        assert _difference(interpret(graph, arrays), expected) < ALLOWED, each.name
