"""Copies of graphs mean the same, and share nothing that changes."""

from __future__ import annotations

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import GraphBuilder
from engineworks.ir.copy import copy_graph
from engineworks.ir.graph import Graph, Region, regions_of
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.text import print_graph
from engineworks.ops.relu import Relu  # registers relu, and with it all operators that the graphs here use


def with_a_branch() -> Graph:
    bodies = []
    for scale in (2.0, -3.0):
        body = GraphBuilder()
        inner = body.input("inner", dtypes.f32, (4,))
        body.output(body.mul(inner, scale), "result")
        bodies.append(Region(body.graph))
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (4,))
    condition = g.input("condition", dtypes.bool_, ())
    weights = g.constant(np.arange(4, dtype=np.float32), name="weights")
    moved = g.add(x, weights)
    types = (moved.type,)
    y = g.if_(condition, moved, moved, then=bodies[0], otherwise=bodies[1], then_inputs=1, types=types)
    g.output(g.relu(y), "y")
    return g.graph


def test_a_copy_reads_and_computes_the_same() -> None:
    graph = with_a_branch()
    copied, twins = copy_graph(graph)
    assert print_graph(copied) == print_graph(graph)
    assert twins[id(graph.inputs[0])] is copied.inputs[0]
    for condition in (True, False):
        given = {"x": np.arange(-2, 2, dtype=np.float32), "condition": np.asarray(condition)}
        np.testing.assert_array_equal(interpret(copied, given)["y"], interpret(graph, given)["y"])


def test_changes_of_the_copy_leave_the_original_and_its_bodies() -> None:
    graph = with_a_branch()
    before = print_graph(graph)
    copied, _ = copy_graph(graph)
    for node in copied.nodes:
        for region in regions_of(node.op):
            _negate(region.graph)
    _negate(copied)
    copied.scope.symbol("N", 1, 9)
    assert print_graph(graph) == before
    assert print_graph(copied) != before
    assert "N" not in graph.scope.symbols
    assert all(v.producer in graph.nodes for v in graph.outputs)


def _negate(graph: Graph) -> None:
    rewriter = Rewriter(graph)
    with rewriter.building() as g:
        graph.outputs[0] = g.neg(graph.outputs[0])
    rewriter.tidy()


def test_constants_are_shared() -> None:
    graph = with_a_branch()
    copied, _ = copy_graph(graph)
    (ours,) = [v for v in graph.values() if v.name == "weights"]
    (theirs,) = [v for v in copied.values() if v.name == "weights"]
    assert theirs.array is ours.array
    assert isinstance(next(n for n in copied.nodes if n.op.name == "relu").op, Relu)
