"""Graph, Node, Value: the compiler's mutable graph. Created by GraphBuilder, changed by Rewriter, sealed as Region."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

from engineworks.core.dims import Scope
from engineworks.core.types import TensorType
from engineworks.ir.op import Op


class Constant:
    """Bytes known at build: an array and, once asked for, its content hash. Equal constants are stored once."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._hash: str | None = None

    @property
    def hash(self) -> str:
        if self._hash is None:
            digest = hashlib.sha256(str((self.array.dtype, self.array.shape)).encode())
            if self.array.dtype == object:
                digest.update(repr(self.array.tolist()).encode())
            else:
                digest.update(np.ascontiguousarray(self.array).view(np.uint8).data)
            self._hash = digest.hexdigest()[:16]
        return self._hash


class Value:
    """One tensor, defined once.

    Attributes:
        type: dtype, shape, layout.
        name: the user's name where there is one.
        producer: the node that defines it; None for graph inputs and constants.
        index: which output of the producer.
        uses: (node, input position) pairs, exact.
        constant: bytes known at build.
        known: small integer tensors whose elements are known Dims: an object array, possibly 0-d; else None.
    """

    __slots__ = ("constant", "index", "known", "name", "producer", "type", "uses")

    def __init__(
        self, type: TensorType, name: str = "", producer: Node | None = None, index: int = 0
    ) -> None:
        self.type = type
        self.name = name
        self.producer = producer
        self.index = index
        self.uses: list[tuple[Node, int]] = []
        self.constant: Constant | None = None
        self.known: np.ndarray | None = None

    @property
    def is_constant(self) -> bool:
        return self.constant is not None

    @property
    def array(self) -> np.ndarray:
        """The constant's array."""
        assert self.constant is not None, f"{self.name or 'value'} is not constant"
        return self.constant.array

    def __repr__(self) -> str:
        return f"<{self.name or '?'}: {self.type}>"


class Node:
    """One application of an op. `inputs` hold None for omitted optional inputs; `origin` names the source nodes."""

    __slots__ = ("inputs", "op", "origin", "outputs")

    def __init__(self, op: Op, inputs: Sequence[Value | None], origin: tuple[str, ...]) -> None:
        self.op = op
        self.inputs: list[Value | None] = list(inputs)
        self.origin = origin
        self.outputs: list[Value] = []
        for position, value in enumerate(self.inputs):
            if value is not None:
                value.uses.append((self, position))

    @property
    def output(self) -> Value:
        return self.outputs[0]

    def set_input(self, position: int, value: Value | None) -> None:
        """Exchange one input, keeping use lists exact."""
        old = self.inputs[position]
        if old is not None:
            old.uses.remove((self, position))
        self.inputs[position] = value
        if value is not None:
            value.uses.append((self, position))

    def detach(self) -> None:
        """Give up all inputs (before the node is dropped)."""
        for position in range(len(self.inputs)):
            self.set_input(position, None)

    def __repr__(self) -> str:
        return f"<{self.op} {'/'.join(self.origin)}>"


class Graph:
    """Ordered nodes (defined before use), inputs, outputs.

    Attributes:
        name: for messages and the textual form.
        outputs: values; `output_names` in the same order, since one value may be two outputs.
        scope: the model's symbols, and the equalities of sizes that each call must satisfy. Bodies share it.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.outputs: list[Value] = []
        self.output_names: list[str] = []
        self.scope = Scope()

    def values(self) -> Iterator[Value]:
        """Inputs, constants in use, and node outputs, each once."""
        seen: set[int] = set()
        for value in self.inputs:
            seen.add(id(value))
            yield value
        for node in self.nodes:
            for value in node.inputs:
                if value is not None and value.is_constant and id(value) not in seen:
                    seen.add(id(value))
                    yield value
            yield from node.outputs
        for value in self.outputs:
            if value.is_constant and id(value) not in seen:
                seen.add(id(value))
                yield value

    def is_output(self, value: Value) -> bool:
        return any(value is v for v in self.outputs)

    def remove_dead(self) -> int:
        """Drop nodes none of whose outputs is read; returns how many went."""
        outputs = {id(v) for v in self.outputs}
        kept: list[Node] = []
        before = len(self.nodes)
        for node in reversed(self.nodes):
            if any(v.uses or id(v) in outputs for v in node.outputs):
                kept.append(node)
            else:
                node.detach()
        self.nodes = kept[::-1]
        return before - len(self.nodes)

    def sort(self) -> None:
        """Put nodes in an order that defines before use, otherwise keeping today's order."""
        position = {id(n): k for k, n in enumerate(self.nodes)}
        placed: set[int] = set()
        order: list[Node] = []
        for root in self.nodes:
            stack: list[tuple[Node, Iterator[Node]]] = []
            if id(root) not in placed:
                placed.add(id(root))
                stack.append((root, _producers(root, position)))
            while stack:
                node, waiting = stack[-1]
                following = next((n for n in waiting if id(n) not in placed), None)
                if following is None:
                    order.append(node)
                    stack.pop()
                else:
                    placed.add(id(following))
                    stack.append((following, _producers(following, position)))
        self.nodes = order


def _producers(node: Node, position: dict[int, int]) -> Iterator[Node]:
    reads = (v.producer for v in node.inputs if v is not None)
    return (p for p in reads if p is not None and id(p) in position)


class Region:
    """A sealed graph: never changed again; equal when its canonical text is equal. Body of If, Loop and fused groups.

    It is closed: what it reads of an enclosing graph are inputs of its own.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @cached_property
    def text(self) -> str:
        from engineworks.ir.text import print_graph

        return print_graph(self.graph, canonical=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Region) and (self is other or self.text == other.text)

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"<region {self.graph.name}: {len(self.graph.nodes)} nodes>"


def regions_of(op: Op) -> Iterable[Region]:
    """Regions among the attributes of an op."""
    return [v for v in op.attributes().values() if isinstance(v, Region)]
