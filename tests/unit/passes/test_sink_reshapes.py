"""Reshapes around products of merged rows go, and the numbers stay."""

from __future__ import annotations

import numpy as np

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.sink_reshapes import SinkReshapes
from engineworks.rules.sets import canonical_rules

N = symbol("N", 1, 4)


def _draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _layer(*, from_heads: bool = False, vector: tuple[int, ...] = (6,)) -> Graph:
    g = GraphBuilder(Graph("layer"))
    x = g.input("x", dtypes.f32, (N, 5, 2, 4) if from_heads else (N, 5, 8))
    rows = g.reshape(x, shape=(N * 5, 8))
    y = g.relu(g.add(g.matmul(rows, g.constant(_draw(8, 6))), g.constant(_draw(*vector))))
    split = g.reshape(y, shape=(N, 5, 6))
    g.output(g.add(split, g.input("residual", dtypes.f32, (N, 5, 6))), "out")
    return g.graph


def _check(graph: Graph, before: Graph) -> list[str]:
    rewriter = Rewriter(graph)
    SinkReshapes().run(rewriter)
    rewriter.tidy()
    canonical_rules().run(rewriter)
    rewriter.tidy()
    verify(graph)
    given = {"residual": _draw(3, 5, 6), "x": _draw(3, *(int(d) for d in before.inputs[0].type.shape[1:]))}
    np.testing.assert_allclose(interpret(graph, given)["out"], interpret(before, given)["out"], rtol=1e-5)
    return [n.op.name for n in graph.nodes]


def test_rows_that_were_merged_stay_split() -> None:
    assert _check(_layer(), _layer()) == ["matmul", "add", "relu", "add"]


def test_a_reshape_behind_goes_in_front_where_rows_were_made_of_other_axes() -> None:
    names = _check(_layer(from_heads=True), _layer(from_heads=True))
    assert names == ["reshape", "matmul", "add", "relu", "add"]


def test_a_constant_that_differs_by_row_keeps_its_reshape() -> None:
    g = GraphBuilder(Graph("rows"))
    rows = g.reshape(g.input("x", dtypes.f32, (2, 5, 8)), shape=(10, 8))
    y = g.add(g.matmul(rows, g.constant(_draw(8, 6))), g.constant(_draw(10, 1)))
    g.output(g.reshape(y, shape=(2, 5, 6)), "out")
    rewriter = Rewriter(g.graph)
    SinkReshapes().run(rewriter)
    rewriter.tidy()
    verify(g.graph)
    adding = next(n for n in g.graph.nodes if n.op.name == "add")
    assert adding.output.type.shape == (10, 6)


def _normed(graph: Graph) -> Graph:
    """An activation behind a norm that is computed on another shape."""
    g = GraphBuilder(graph)
    x = g.input("x", dtypes.f16, (2, 6, 5))
    wide = g.cast_to(g.reshape(g.relu(x), shape=(2, 3, 2, 5)), dtypes.f32)
    low = g.sub(wide, g.reduce_mean(wide, axes=(2, 3), keepdims=True))
    g.output(g.silu(g.reshape(g.cast_to(low, dtypes.f16), shape=(2, 6, 5))), "out")
    return g.graph


def test_an_activation_joins_the_norm_in_front_of_a_reshape_and_the_widening_stays_with_it() -> None:
    graph, before = _normed(Graph("norm")), _normed(Graph("norm"))
    rewriter = Rewriter(graph)
    SinkReshapes(between_pointwise=True).run(rewriter)
    rewriter.tidy()
    verify(graph)
    given = {"x": _draw(2, 6, 5).astype(np.float16)}
    np.testing.assert_array_equal(interpret(graph, given)["out"], interpret(before, given)["out"])
    assert [n.op.name for n in graph.nodes] == [
        "relu",
        "reshape",
        "cast",
        "reduce_mean",
        "sub",
        "cast",
        "silu",
        "reshape",
    ]
