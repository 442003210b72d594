"""What every graph must satisfy at any time, and the sentences for when it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from engineworks.core.dims import Scope, deciding_in, symbol_facts
from engineworks.core.types import TensorType
from engineworks.errors import Error
from engineworks.ir.graph import Graph, Node, Value, regions_of


def verify(graph: Graph, after: str = "") -> None:
    """Check that values are defined before use, use lists are exact, types equal inference, origins are there.

    Args:
        after: what was done last, for the message.
    Raises:
        Error: lists every fault; each is a fault of Engineworks, not of the model.
    """
    with deciding_in(Scope(dict(graph.scope.symbols), list(graph.scope.checks))):
        faults = list(_faults(graph))
    if faults:
        where = f" after {after}" if after else ""
        raise Error(f"graph '{graph.name}' is inconsistent{where}:\n  " + "\n  ".join(faults))


def _faults(graph: Graph) -> Iterator[str]:
    yield from _order(graph)
    yield from _uses(graph)
    for node in graph.nodes:
        yield from _node(node)
        for region in regions_of(node.op):
            yield from (f"in a body of {node}: {fault}" for fault in _faults(region.graph))
    yield from _outputs(graph)
    yield from _symbols(graph)


def _order(graph: Graph) -> Iterator[str]:
    defined = {id(v) for v in graph.inputs}
    owners = Counter(id(n) for n in graph.nodes)
    for node in graph.nodes:
        if owners[id(node)] > 1:
            yield f"{node} is in the graph {owners[id(node)]} times"
        for position, value in enumerate(node.inputs):
            if value is not None and not value.is_constant and id(value) not in defined:
                yield f"{node}: input {position}, {value}, is not defined before it is read"
        for value in node.outputs:
            defined.add(id(value))
    for name, value in zip(graph.output_names, graph.outputs, strict=False):
        if not value.is_constant and id(value) not in defined:
            yield f"output '{name}', {value}, is defined nowhere"


def _uses(graph: Graph) -> Iterator[str]:
    """Each (node, position) that reads a value is in its list once, and nothing else is."""
    read: dict[int, list[tuple[int, int]]] = {}
    for node in graph.nodes:
        for position, value in enumerate(node.inputs):
            if value is not None:
                read.setdefault(id(value), []).append((id(node), position))
    for value in graph.values():
        stated = sorted((id(n), p) for n, p in value.uses)
        if stated != sorted(read.get(id(value), [])):
            yield f"{value} has {len(value.uses)} uses on its list, {len(read.get(id(value), []))} in the graph"


def _node(node: Node) -> Iterator[str]:
    if not node.origin or not all(node.origin):
        yield f"{node} has no origin"
    for index, value in enumerate(node.outputs):
        if value.producer is not node or value.index != index:
            yield f"{node}: output {index} names {value.producer} as its producer"
    inferred = node.op.infer(*[None if v is None else v.type for v in node.inputs])
    if len(inferred) != len(node.outputs):
        yield f"{node} has {len(node.outputs)} outputs, inference says {len(inferred)}"
    for value, kind in zip(node.outputs, inferred, strict=False):
        if not _same(value.type, kind):
            yield f"{node}: output is {value.type}, inference says {kind}"


def _same(a: TensorType, b: TensorType) -> bool:
    return a.dtype is b.dtype and a.shape == b.shape


def _outputs(graph: Graph) -> Iterator[str]:
    if len(graph.outputs) != len(graph.output_names):
        yield f"{len(graph.outputs)} outputs have {len(graph.output_names)} names"
    for kind, names in (("outputs", graph.output_names), ("inputs", [v.name for v in graph.inputs])):
        twice = [n for n, count in Counter(names).items() if count > 1]
        if twice:
            yield f"two {kind} are called {', '.join(repr(n) for n in twice)}"
    for value in graph.values():
        yield from _constant(value)


def _constant(value: Value) -> Iterator[str]:
    if value.constant is not None:
        array = value.constant.array
        if tuple(array.shape) != value.type.shape or array.dtype != value.type.dtype.numpy:
            yield f"constant {value} holds {array.dtype}{list(array.shape)}"


def _symbols(graph: Graph) -> Iterator[str]:
    """One name means one symbol."""
    facts: dict[str, object] = {}
    for value in graph.values():
        for dim in value.type.shape:
            for name, stated in symbol_facts(dim).items():
                if facts.setdefault(name, stated) != stated:
                    yield f"dim {name} is declared as {facts[name]} and, at {value}, as {stated}"
