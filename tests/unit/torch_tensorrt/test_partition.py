"""Levels, small engines and constants: which nodes run where, without building anything."""

from __future__ import annotations

import random

import pytest
import torch
from torch import fx

from engineworks.torch_tensorrt.extract import Program, extract
from engineworks.torch_tensorrt.fold import constant_nodes, fold
from engineworks.torch_tensorrt.partition import levels, needed_outside, with_small_engines_in_pytorch

ADD = torch.ops.aten.add.Tensor


def made(graph: fx.Graph, *inputs: fx.Node) -> fx.Node:
    node = graph.call_function(ADD, inputs if len(inputs) == 2 else (inputs[0], inputs[0]))
    node.meta["val"] = torch.empty(2)
    return node


def placeholder(graph: fx.Graph, name: str) -> fx.Node:
    node = graph.placeholder(name)
    node.meta["val"] = torch.empty(2)
    return node


def random_graph(seed: int) -> tuple[fx.Graph, dict[fx.Node, str]]:
    """Thirty additions of earlier values, a third of them in PyTorch."""
    chance = random.Random(seed)
    graph = fx.Graph()
    values = [placeholder(graph, "x")]
    for _ in range(30):
        values.append(made(graph, chance.choice(values[-6:]), chance.choice(values[-6:])))
    graph.output((values[-1],))
    return graph, {n: "for a test" for n in values[1:] if chance.random() < 0.3}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_runs_before_what_it_reads(seed: int) -> None:
    graph, reasons = random_graph(seed)
    found = levels(graph, reasons)
    order = [n for level in found for n in (*level.engine, *level.eager)]
    assert sorted(order) == sorted(n for n in graph.nodes if n.op == "call_function")
    engine_of = {n: number for number, level in enumerate(found) for n in level.engine}
    for number, level in enumerate(found):
        for node in level.engine:
            assert all(engine_of[n] <= number for n in node.all_input_nodes if n in engine_of)
            assert all(order.index(n) < order.index(node) for n in node.all_input_nodes if n in order)
            eager_before = {n for earlier in found[:number] for n in earlier.eager}
            assert all(n in eager_before for n in node.all_input_nodes if n in reasons)


@pytest.mark.parametrize("seed", range(20))
def test_there_are_as_many_engines_as_the_longest_path_alternates(seed: int) -> None:
    graph, reasons = random_graph(seed)
    starts: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "call_function":
            before = max((starts[n] for n in node.all_input_nodes if n in starts), default=-1)
            after_eager = any(n in reasons and starts[n] == before for n in node.all_input_nodes)
            is_first = before < 0
            starts[node] = before + 1 if node not in reasons and (after_eager or is_first) else max(before, 0)
    assert len(levels(graph, reasons)) == max(starts.values()) + 1


def test_a_chain_of_small_engines_runs_in_pytorch_but_a_whole_graph_is_one() -> None:
    graph = fx.Graph()
    first = made(graph, placeholder(graph, "x"))
    eager = made(graph, first)
    graph.output((made(graph, eager),))
    assert set(with_small_engines_in_pytorch(graph, {eager: "why"}, 2)) == {
        n for n in graph.nodes if n.op == "call_function"
    }
    assert with_small_engines_in_pytorch(graph, {}, 100) == {}


def test_weights_and_what_follows_from_them_go_into_the_engine_that_reads_them() -> None:
    graph = fx.Graph()
    weight, x = placeholder(graph, "weight"), placeholder(graph, "x")
    doubled = made(graph, weight)
    total = made(graph, doubled, x)
    graph.output((total,))
    program = Program(graph, {"weight": torch.ones(2)})
    repeated = constant_nodes(program)
    assert repeated == {doubled}
    found = levels(graph, {}, repeated)
    piece = extract(program, found[0].engine, needed_outside(graph, found), repeated)
    assert piece.inputs == (x,) and piece.outputs == (total,) and set(piece.program.constants) == {"weight"}


def test_weights_that_pytorch_reads_are_computed_beforehand() -> None:
    graph = fx.Graph()
    weight, x = placeholder(graph, "weight"), placeholder(graph, "x")
    total = made(graph, made(graph, weight), x)
    graph.output((total,))
    folded = fold(Program(graph, {"weight": torch.ones(2)}), {total})
    (name,) = folded.constants.keys() - {"weight"}
    assert torch.equal(folded.constants[name], torch.full((2,), 2.0))
    assert {n.name for n in total.all_input_nodes} == {name, "x"}


def test_state_is_an_input_of_engines() -> None:
    graph = fx.Graph()
    state, x = placeholder(graph, "state"), placeholder(graph, "x")
    total = made(graph, state, x)
    graph.output((total,))
    program = Program(graph, {"state": torch.ones(2)}, {"state"})
    piece = extract(program, [total], {total}, ())
    assert piece.inputs == (state, x) and not piece.program.constants
