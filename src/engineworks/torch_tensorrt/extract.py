"""An engine's nodes as a graph of their own, and the graph that calls engines."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from engineworks.torch_tensorrt.partition import is_size, returned

ENGINE = "engine_{}"
"""Name of the buffer that holds the file of engine 0, 1, …"""


@dataclass(frozen=True, slots=True)
class Program:
    """A functional graph in which everything is an input, and what some of the inputs always are.

    Attributes:
        constants: tensors by name of their placeholder: weights, buffers.
        state: names among them whose tensors change between calls: engines take them as inputs.
        ranges: limits of torch's symbols, as ExportedProgram.range_constraints.
        updates: names of placeholders that take the value of an output, by its position.
        bodies: the module whose attributes are the graphs of control flow, where there are any.
    """

    graph: fx.Graph
    constants: Mapping[str, torch.Tensor]
    state: Collection[str] = ()
    ranges: Mapping[Any, Any] = field(default_factory=dict)
    updates: Mapping[int, str] = field(default_factory=dict)
    bodies: torch.nn.Module | None = None

    def is_constant(self, node: fx.Node) -> bool:
        """The node is a placeholder whose tensor an engine may hold."""
        return node.op == "placeholder" and node.name in self.constants and node.name not in self.state


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a program that becomes an engine.

    Attributes:
        program: its graph; names of nodes are those of the whole.
        nodes: of the whole graph that it computes.
        inputs, outputs: the nodes of the whole graph that its inputs and outputs stand for.
    """

    program: Program
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]


def extract(
    whole: Program, nodes: Sequence[fx.Node], needed: Collection[fx.Node], repeated: Collection[fx.Node]
) -> Piece:
    """The nodes of one engine as a program.

    Args:
        nodes: in the order of the graph.
        needed: nodes whose values are read outside of engines.
        repeated: nodes that belong to no engine, and that every engine that reads them holds.
    """
    inside = set(nodes)
    graph, copied = fx.Graph(), dict[fx.Node, fx.Node]()
    read = _reads(nodes, inside, repeated)
    for node in (n for n in whole.graph.nodes if n in read):
        copied[node] = graph.placeholder(node.name)
        copied[node].meta = dict(node.meta)
        copied[node].name = node.name  # fx would call 'input' another name
    for node in (n for n in whole.graph.nodes if n in inside):
        _copy(graph, node, copied)
    outputs = tuple(n for n in nodes if _leaves(n, inside, needed))
    graph.output(tuple(copied[n] for n in outputs))
    constants = {n.name: whole.constants[n.name] for n in read if whole.is_constant(n)}
    inputs = tuple(n for n in whole.graph.nodes if n in read and n.name not in constants)
    return Piece(
        Program(graph, constants, (), whole.ranges, bodies=whole.bodies), tuple(nodes), inputs, outputs
    )


def _reads(
    nodes: Sequence[fx.Node], inside: Collection[fx.Node], repeated: Collection[fx.Node]
) -> set[fx.Node]:
    """Tensors from outside, those included whose sizes are read."""
    found, seen, waiting = set[fx.Node](), set[fx.Node](), list(nodes)
    while waiting:
        for node in waiting.pop().all_input_nodes:
            if node in inside or node in seen:
                continue
            seen.add(node)
            if is_size(node) or node in repeated:
                waiting.append(node)
            elif node.op != "get_attr":
                found.add(node)
    return found


def _copy(graph: fx.Graph, node: fx.Node, copied: dict[fx.Node, fx.Node]) -> None:
    """The node in `graph`, after what it reads and no other part computes: sizes, repeated nodes, bodies."""
    for read in node.all_input_nodes:
        if read not in copied:
            _copy(graph, read, copied)
    if node not in copied:
        copied[node] = graph.node_copy(node, copied.__getitem__)
        copied[node].name = node.name


def _leaves(node: fx.Node, inside: Collection[fx.Node], needed: Collection[fx.Node]) -> bool:
    """A tensor of the engine that something outside reads; of several results, those that are unpacked do."""
    if not isinstance(node.meta.get("val"), torch.Tensor):
        return False
    return node in needed or any(_reads_outside(user, inside) for user in node.users)


def _reads_outside(user: fx.Node, inside: Collection[fx.Node]) -> bool:
    """Another engine reads it, itself or its sizes."""
    if user.op == "output" or user in inside:
        return False
    return any(_reads_outside(further, inside) for further in user.users) if is_size(user) else True


def assemble(
    whole: Program,
    parts: Sequence[tuple[Piece | None, Sequence[fx.Node]]],
    engines: Sequence[tuple[torch.Tensor, str]],
) -> fx.GraphModule:
    """The module that calls engines, with the nodes that run in PyTorch between them.

    Args:
        parts: of each level, its engine and then its nodes in PyTorch.
        engines: [bytes] uint8, the file, and the signature of each engine, in order.
    Returns:
        a module with a placeholder for each input that is no constant; it returns a tuple.
    """
    assembling = _Assembling(whole)
    number = 0
    for piece, eager in parts:
        if piece is not None:
            assembling.call(piece, number, *engines[number])
            number += 1
        for node in eager:
            assembling.copied(node)
    return assembling.module()


class _Assembling:
    """One module under way."""

    def __init__(self, whole: Program) -> None:
        self._whole = whole
        self._graph = fx.Graph()
        self._root = torch.nn.Module()
        self._here: dict[fx.Node, fx.Node] = {}
        for node in whole.graph.find_nodes(op="placeholder"):
            if node.name not in whole.constants:
                self._here[node] = self._graph.node_copy(node)

    def copied(self, node: fx.Node) -> fx.Node:
        """The node here, after everything that it reads."""
        if node not in self._here:
            for read in node.all_input_nodes:
                self.copied(read)
            if node.op == "get_attr":
                name = str(node.target)
                self._root.add_module(name, getattr(self._whole.bodies, name))
            is_stored = node.op == "placeholder"
            make = self._stored if is_stored else lambda n: self._graph.node_copy(n, self._here.__getitem__)
            self._here[node] = make(node)
        return self._here[node]

    def _stored(self, node: fx.Node) -> fx.Node:
        tensor = self._whole.constants[node.name].detach()
        self._root.register_buffer(node.name, tensor)
        made = self._graph.get_attr(node.name)
        made.meta = dict(node.meta)
        return made

    def call(self, piece: Piece, number: int, file: torch.Tensor, signature: str) -> None:
        """Adds the call of an engine."""
        name = ENGINE.format(number)
        self._root.register_buffer(name, file)
        inputs = [self.copied(n) for n in piece.inputs]
        target = torch.ops.engineworks.execute_engine.default
        call = self._graph.call_function(target, (inputs, self._graph.get_attr(name), signature))
        for position, output in enumerate(piece.outputs):
            self._here[output] = self._graph.call_function(operator.getitem, (call, position))
            self._here[output].meta = dict(output.meta)

    def module(self) -> fx.GraphModule:
        values: Any = fx.map_arg(returned(self._whole.graph), self.copied)
        for position, name in self._whole.updates.items():
            state = self.copied(next(n for n in self._whole.graph.nodes if n.name == name))
            self._graph.call_function(torch.ops.aten.copy_.default, (state, values[position]))
        self._graph.output(tuple(v for k, v in enumerate(values) if k not in self._whole.updates))
        return fx.GraphModule(self._root, self._graph)
