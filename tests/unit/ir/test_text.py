"""The textual form: what it looks like, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.errors import Error
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.ir.text import parse_graph, print_graph
from engineworks.ir.verify import verify


def _network() -> Graph:
    g = GraphBuilder(Graph("mlp"))
    x = g.input("x", dtypes.f32, (symbol("B", 1, 8), 4))
    with g.origin("layers/fc1"):
        h = g.add(x, g.constant(np.arange(4, dtype=np.float32), name="w"))
        h.name = "h"
    with g.origin("act"):
        y = g.relu(h)
    g.output(y, "y")
    return g.graph


TEXT = """\
dim B in 1..8
graph mlp(x: f32[B, 4]) -> y=$0
  w = const f32[4] (0.0, 1.0, 2.0, 3.0)
  h = add(x, w) : f32[B, 4] ; origin `layers/fc1`
  $0 = relu(h) : f32[B, 4] ; origin act"""


def test_a_graph_prints_as_documented() -> None:
    assert print_graph(_network()) == TEXT


def test_the_text_reads_back() -> None:
    graph = parse_graph(TEXT)
    verify(graph)
    assert print_graph(graph) == TEXT


def test_the_canonical_form_has_no_names() -> None:
    text = print_graph(_network(), canonical=True)
    assert "fc1" not in text
    assert "x" not in text.replace("relu", "")


def test_large_constants_go_by_hash() -> None:
    g = GraphBuilder()
    w = g.constant(np.arange(100, dtype=np.float32), name="w")
    g.output(g.relu(w), "y")
    assert w.constant is not None
    text = print_graph(g.graph)
    assert f"@{w.constant.hash}" in text
    with pytest.raises(Error, match="pass it in constants="):
        parse_graph(text)
    again = parse_graph(text, {w.constant.hash: w.array})
    np.testing.assert_array_equal(again.nodes[0].inputs[0].array, w.array)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("graph g(x: f32[2]) -> y\n  y = nothing(x) : f32[2]", "no operator is called 'nothing'"),
        (
            "graph g(x: f32[2]) -> y\n  y = relu(z) : f32[2]",
            "'z' is read in graph 'g' before anything defines it",
        ),
        (
            "graph g(x: f32[2]) -> y\n  y = relu(x) : f32[3]",
            "'y' is written as f32\\[3\\], but is f32\\[2\\]",
        ),
        ("graph g(x: f32[2]) -> y\n  x = relu(x) : f32[2]", "'x' is defined twice"),
        ("graph g(x: f99[2]) -> y", "line 1: a type such as"),
        ("graph g(x: f32[2]) -> y\n  y = relu(x", "is expected at 'the end'"),
        ("graph ! g", "line 1: '! g' is not part"),
    ],
)
def test_faults_are_named(text: str, says: str) -> None:
    with pytest.raises(Error, match=says):
        parse_graph(text)


def test_names_of_any_kind_survive() -> None:
    g = GraphBuilder(Graph("a b"))
    x = g.input("in put`\\", dtypes.f32, (2,))
    with g.origin("/m/Relu_0", "const"):
        g.output(g.relu(x), "out")
    text = print_graph(g.graph)
    again = parse_graph(text)
    assert again.inputs[0].name == "in put`\\"
    assert again.nodes[0].origin == ("/m/Relu_0", "const")
    assert print_graph(again) == text


@pytest.mark.parametrize("value", [-5, True, -2.5, 1.5e-20, float("inf"), float("-inf")])
def test_scalar_constants_read_back(value: float) -> None:
    g = GraphBuilder(Graph("scalars"))
    number = g.constant(np.array(value))
    x = g.input("x", number.type.dtype, (3,))
    g.output(g.where(g.equal(x, number), x, number), "y")
    text = print_graph(g.graph)
    assert print_graph(parse_graph(text)) == text
