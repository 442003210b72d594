"""Copies of graphs, for those who change one and need it as it was: constants are shared, all else is new."""

from __future__ import annotations

import dataclasses

from engineworks.core.dims import Scope
from engineworks.ir.graph import Graph, Node, Region, Value
from engineworks.ir.op import Op


def copy_graph(graph: Graph) -> tuple[Graph, dict[int, Value]]:
    """(a graph that means the same and shares only constants' arrays, its values by id of the original ones)."""
    return _copied(graph, Scope(dict(graph.scope.symbols), list(graph.scope.checks)))


def _copied(graph: Graph, scope: Scope) -> tuple[Graph, dict[int, Value]]:
    made = Graph(graph.name)
    made.scope = scope
    values: dict[int, Value] = {}

    def twin(value: Value, producer: Node | None = None) -> Value:
        if id(value) not in values:
            new = Value(value.type, value.name, producer, value.index)
            new.constant, new.known = value.constant, value.known
            values[id(value)] = new
        return values[id(value)]

    made.inputs = [twin(v) for v in graph.inputs]
    for node in graph.nodes:
        inputs = [None if v is None else twin(v) for v in node.inputs]
        new = Node(_own_bodies(node.op, scope), inputs, node.origin)
        new.outputs = [twin(v, new) for v in node.outputs]
        made.nodes.append(new)
    made.outputs = [twin(v) for v in graph.outputs]
    made.output_names = list(graph.output_names)
    return made, values


def _own_bodies(op: Op, scope: Scope) -> Op:
    """The op with copies of the graphs among its attributes, which a build optimises in place."""
    bodies = {name: v for name, v in op.attributes().items() if isinstance(v, Region)}
    if not bodies:
        return op
    copies = {name: Region(_copied(body.graph, scope)[0]) for name, body in bodies.items()}
    # pyrefly: ignore[bad-specialization]
    return dataclasses.replace(op, **copies)  # type: ignore[type-var]
