"""What a slice leaves out is not computed in front of it either, and the rest stays what it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import Dim, symbol
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.hoist_slices import HoistSlices

WIDTH, ROWS = 8, 5
N = symbol("N", 1, 4)


def _draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _first(g: GraphBuilder, x: Value, axis: int = 1) -> Value:
    return g.slice(x, starts=(0,), ends=(1,), axes=(axis,))


def _linear(g: GraphBuilder, x: Value, columns: int) -> Value:
    return g.add(g.matmul(x, _draw(int(x.type.shape[-1]), columns)), _draw(columns))  # type: ignore[arg-type]


def _heads(g: GraphBuilder, x: Value) -> Value:
    return g.transpose(g.reshape(x, shape=(*x.type.shape[:2], 2, WIDTH // 2)), perm=(0, 2, 1, 3))


def _layer(g: GraphBuilder, x: Value, *, causal: bool = False) -> Value:
    """A transformer's layer, norms first."""
    y = g.layer_normalization(x, _draw(WIDTH), _draw(WIDTH))
    seen = g.attention(*(_heads(g, _linear(g, y, WIDTH)) for _ in range(3)), scale=0.5, causal=causal)
    joined = g.reshape(g.transpose(seen, perm=(0, 2, 1, 3)), shape=x.type.shape)
    x = g.add(x, _linear(g, joined, WIDTH))
    return g.add(x, _linear(g, g.gelu(_linear(g, g.layer_normalization(x, _draw(WIDTH)), 16)), WIDTH))


def _graph(build: Callable[[GraphBuilder, Value], Value]) -> Graph:
    g = GraphBuilder(Graph("rows"))
    g.output(build(g, g.input("x", dtypes.f32, (N, ROWS, WIDTH))), "y")
    return g.graph


def _hoisted(build: Callable[[GraphBuilder, Value], Value]) -> Graph:
    """The graph behind the pass, which means what it meant."""
    graph, before = _graph(build), _graph(build)
    rewriter = Rewriter(graph)
    HoistSlices().run(rewriter)
    rewriter.tidy()
    verify(graph)
    feeds = {"x": np.random.default_rng(1).standard_normal((3, ROWS, WIDTH)).astype(np.float32)}
    np.testing.assert_allclose(
        interpret(graph, feeds)["y"], interpret(before, feeds)["y"], rtol=1e-5, atol=1e-5
    )
    return graph


def _rows(graph: Graph, name: str) -> list[Dim]:
    return sorted(n.output.type.shape[-2] for n in graph.nodes if n.op.name == name)  # type: ignore[type-var]


def test_the_last_layer_has_one_row_but_for_keys_and_values() -> None:
    graph = _hoisted(lambda g, x: _first(g, g.layer_normalization(_layer(g, _layer(g, x)), _draw(WIDTH))))
    assert _rows(graph, "matmul") == [1] * 4 + [ROWS] * 8
    assert _rows(graph, "attention") == [1, ROWS]
    assert _rows(graph, "layer_normalization") == [1, 1, ROWS, ROWS, ROWS]


def test_masked_attention_keeps_its_queries() -> None:
    graph = _hoisted(lambda g, x: _first(g, _layer(g, x, causal=True)))
    assert _rows(graph, "attention") == [ROWS]
    assert _rows(graph, "matmul") == [1] * 3 + [ROWS] * 3


def test_other_rows_and_steps_are_left_out_too() -> None:
    def build(g: GraphBuilder, x: Value) -> Value:
        return g.slice(_linear(g, x, 3), starts=(-1,), ends=(-6,), axes=(1,), steps=(-2,))

    assert _rows(_hoisted(build), "matmul") == [3]


def test_a_vector_that_is_added_to_every_row_stays_and_one_for_each_is_sliced() -> None:
    graph = _hoisted(
        lambda g, x: _first(g, g.add(g.add(_linear(g, x, WIDTH), _draw(ROWS, WIDTH)), _draw(1, WIDTH)))
    )
    assert _rows(graph, "matmul") == [1]


STAYS: dict[str, Callable[[GraphBuilder, Value], Value]] = {
    "columns": lambda g, x: _first(g, _linear(g, x, WIDTH), 2),
    "pointwise work alone": lambda g, x: _first(g, g.gelu(x)),
    "rows that are normalised together": lambda g, x: _first(
        g, g.layer_normalization(x, _draw(ROWS, WIDTH), axis=1)
    ),
    "a reshape that tears rows apart": lambda g, x: _first(
        g, g.reshape(_linear(g, x, WIDTH), shape=(N, WIDTH, ROWS)), 1
    ),
    "a product of two tensors": lambda g, x: _first(g, g.matmul(x, g.transpose(x, perm=(0, 2, 1)))),
    "what others read whole": lambda g, x: g.add((y := _linear(g, x, WIDTH)), _first(g, y)),
    "different slices": lambda g, x: g.add(
        _first(g, y := _linear(g, x, WIDTH)), g.slice(y, starts=(1,), ends=(2,), axes=(1,))
    ),
}


@pytest.mark.parametrize("what", STAYS)
def test_it_stays_behind(what: str) -> None:
    graph = _graph(STAYS[what])
    rewriter = Rewriter(graph)
    HoistSlices().run(rewriter)
    assert not rewriter.journal


def test_an_engine_computes_the_same() -> None:
    pytest.importorskip("triton", reason="building for cuda needs it")
    from engineworks.testing.emulated_gpu import build_and_run

    def build(g: GraphBuilder, x: Value) -> Value:
        return _linear(g, g.reshape(_first(g, _layer(g, _layer(g, x))), shape=(N, WIDTH)), 3)

    feeds = {"x": np.random.default_rng(2).standard_normal((2, ROWS, WIDTH)).astype(np.float32)}
    made = build_and_run(_graph(build), feeds, effort=0, timing_cache=False, tf32=False)["y"]
    np.testing.assert_allclose(made, interpret(_graph(build), feeds)["y"], rtol=1e-4, atol=1e-4)
