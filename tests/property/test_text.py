"""Random graphs survive printing and reading; equal bodies have equal text."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Region
from engineworks.ir.text import parse_graph, print_graph
from engineworks.ir.verify import verify

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "relu", "softmax", "transpose", "constant"]), st.integers(0, 99), NAMES
    ),
    max_size=8,
)


def _build(steps, dim_name: str, low: int, names: bool) -> Graph:
    g = GraphBuilder(Graph("random"))
    square = symbol(dim_name, low, low + 4)
    values = [g.input("x", dtypes.f32, (square, square))]
    for number, (kind, pick, name) in enumerate(steps):
        source = values[pick % len(values)]
        with g.origin(name if names and name else f"n{number}"):
            match kind:
                case "add":
                    made = g.add(source, values[-1])
                case "transpose":
                    made = g.transpose(source, perm=(1, 0))
                case "constant":
                    made = g.add(source, g.constant(np.array([[pick / 3]], np.float32)))
                case _:
                    made = getattr(g, kind)(source)
        made.name = name if names else ""
        values.append(made)
    g.output(values[-1], "y")
    return g.graph


@settings(deadline=None)
@example([("add", 0, "$")], "N", 0)
@example([("add", 0, "$0"), ("relu", 1, "")], "N", 0)
@given(STEPS, st.sampled_from(["N", "batch size", "f32", "min", "in"]), st.integers(0, 3))
def test_text_reads_back_as_the_same_graph(steps, dim_name: str, low: int) -> None:
    graph = _build(steps, dim_name, low, names=True)
    again = parse_graph(print_graph(graph))
    verify(again)
    assert print_graph(again) == print_graph(graph)
    assert [n.origin for n in again.nodes] == [n.origin for n in graph.nodes]


@settings(deadline=None)
@given(STEPS)
def test_names_do_not_tell_bodies_apart(steps) -> None:
    assert Region(_build(steps, "N", 1, names=True)) == Region(_build(steps, "N", 1, names=False))
