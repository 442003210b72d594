"""The verifier sees each kind of damage."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import Error
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.ir.verify import verify


@pytest.fixture
def graph() -> Graph:
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (2,))
    g.output(g.relu(g.add(x, g.constant(np.ones(2, np.float32)))), "y")
    return g.graph


def _fault(graph: Graph) -> str:
    with pytest.raises(Error) as caught:
        verify(graph, after="a test")
    assert "inconsistent after a test" in str(caught.value)
    return str(caught.value)


def test_a_sound_graph_passes(graph: Graph) -> None:
    verify(graph)


def test_use_before_definition(graph: Graph) -> None:
    graph.nodes.reverse()
    assert "is not defined before it is read" in _fault(graph)


def test_a_use_that_is_missing_from_the_list(graph: Graph) -> None:
    graph.inputs[0].uses.clear()
    assert "has 0 uses on its list, 1 in the graph" in _fault(graph)


def test_a_type_that_inference_does_not_give(graph: Graph) -> None:
    graph.nodes[0].outputs[0].type = TensorType(dtypes.f32, (3,))
    assert "inference says f32[2]" in _fault(graph)


def test_a_node_without_origin(graph: Graph) -> None:
    graph.nodes[0].origin = ()
    assert "has no origin" in _fault(graph)


def test_a_node_that_is_in_the_graph_twice(graph: Graph) -> None:
    graph.nodes.append(graph.nodes[0])
    assert "is in the graph 2 times" in _fault(graph)


def test_an_output_that_nothing_defines(graph: Graph) -> None:
    del graph.nodes[1]
    assert "output 'y'" in _fault(graph)


def test_a_constant_of_another_shape(graph: Graph) -> None:
    value = graph.nodes[0].inputs[1]
    assert value is not None
    value.constant.array = np.ones(3, np.float32)
    assert "holds float32[3]" in _fault(graph)
