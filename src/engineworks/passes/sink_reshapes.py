"""Rows that a model merges in front of a product are split again behind it, and behind the pointwise work after that.

reshape(x, [M, K]) @ w + b, reshaped to [batch, sequence, N], becomes x @ w + b: what follows it (an activation,
a residual sum) fuses with the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engineworks.core.dims import known_equal
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._kinds import Pointwise


@dataclass(frozen=True, slots=True)
class SinkReshapes:
    """Move reshapes that keep the last axis behind matmuls with constant matrices and behind pointwise ops.

    Attributes:
        between_pointwise: only from between two pointwise ops, which then are one loop nest: an activation joins a norm
            that decomposes between reshapes.
    """

    between_pointwise: bool = False
    name: ClassVar[str] = "sink reshapes"

    def run(self, rewriter: Rewriter) -> None:
        if self.between_pointwise:
            for node in list(rewriter.graph.nodes):
                if isinstance(node.op, Pointwise) and any(_joins(node, v) for v in node.inputs):
                    self._sink_behind_pointwise(rewriter, node)
            return
        for node in list(rewriter.graph.nodes):
            if node.op.name == "matmul":
                self._sink_behind_matmul(rewriter, node)
            elif isinstance(node.op, Pointwise) and len(node.outputs) == 1:
                self._sink_behind_pointwise(rewriter, node)
        for node in list(rewriter.graph.nodes):
            if node.op.name == "reshape":
                self._hoist(rewriter, node)

    def _hoist(self, rewriter: Rewriter, node: Node) -> None:
        """A reshape behind the pointwise work after a product of merged rows goes in front of the product."""
        given = node.inputs[0]
        chain = [] if given is None else chain_to_matmul(rewriter, given)
        rank = node.output.type.rank
        if not chain or rank < 3 or _rows_of(node.output) is None:
            return
        rows = chain[-1].inputs[0]
        assert rows is not None, "matmul takes two inputs"
        if rows.type.rank != 2:
            return
        with rewriter.building(node, *chain) as g:
            made = g.reshape(rows, shape=(*node.output.type.shape[:-1], rows.type.shape[-1]))
            for each in reversed(chain):
                made = g.add_node(each.op, [made if moves(v) else v for v in each.inputs])[0]
        rewriter.replace("reshape in front of product", [node.output], [made], [node])

    def _sink_behind_matmul(self, rewriter: Rewriter, node: Node) -> None:
        rows, weights = node.inputs
        source = None if rows is None else _rows_of(rows)
        if (
            source is None
            or rows is None
            or weights is None
            or not weights.is_constant
            or weights.type.rank != 2
        ):
            return
        with rewriter.building(node) as g:
            product = g.add_node(node.op, [source, weights])[0]
            shaped = g.reshape(product, shape=node.output.type.shape)
        rewriter.replace("sink reshape behind matmul", [node.output], [shaped], [node])

    def _sink_behind_pointwise(self, rewriter: Rewriter, node: Node) -> None:
        moving = [v for v in node.inputs if v is not None and not v.is_constant]
        if len(moving) != 1 or len(moving[0].uses) != 1 or rewriter.graph.is_output(moving[0]):
            return
        source = _rows_of(moving[0])
        if source is None or moving[0].type.shape != node.output.type.shape:
            return
        width = moving[0].type.shape[-1]
        if not all(v is None or v is moving[0] or is_along_last_axis(v, width) for v in node.inputs):
            return
        with rewriter.building(node) as g:
            inner = [source if v is moving[0] else v for v in node.inputs]
            result = g.add_node(node.op, inner)[0]
            shaped = g.reshape(result, shape=node.output.type.shape)
        rewriter.replace("sink reshape behind pointwise", [node.output], [shaped], [node])


def chain_to_matmul(rewriter: Rewriter, value: Value) -> list[Node]:
    """The nodes that make `value`, last first, back to a matmul of rows with a constant matrix, when nobody else reads
    what is between and all else that they read is constant along the last axis; else none.
    """
    chain: list[Node] = []
    while (
        (node := value.producer) is not None and len(value.uses) == 1 and not rewriter.graph.is_output(value)
    ):
        chain.append(node)
        moving = [v for v in node.inputs if moves(v)]
        if node.op.name == "matmul":
            rows, weights = node.inputs
            is_plain = weights is not None and weights.is_constant and weights.type.rank == 2
            return chain if is_plain and moving == [rows] else []
        if not isinstance(node.op, Pointwise) or len(moving) != 1 or moving[0] is None:
            return []
        width = value.type.shape[-1]
        if not all(moves(v) or v is None or is_along_last_axis(v, width) for v in node.inputs):
            return []
        value = moving[0]
    return []


def _joins(node: Node, value: Value | None) -> bool:
    """True when `value` is reshaped pointwise work that `node` may follow. What widens stays with its readers."""
    source = None if value is None else _rows_of(value)
    follows = source is not None and source.producer is not None and isinstance(source.producer.op, Pointwise)
    return follows and value is not None and node.output.type.dtype.bits <= value.type.dtype.bits


def moves(value: Value | None) -> bool:
    """The value is there and is not constant."""
    return value is not None and not value.is_constant


def _rows_of(value: Value) -> Value | None:
    """What a reshape made `value` of, when both end in the same axis."""
    node = value.producer
    if node is None or node.op.name != "reshape":
        return None
    source = node.inputs[0]
    if source is None or source.is_constant or source.type.rank < 2 or value.type.rank < 2:
        return None
    same = known_equal(source.type.shape[-1], value.type.shape[-1]) is True
    return source if same else None


def is_along_last_axis(value: Value, width: object) -> bool:
    """A constant number, or a constant vector along the last axis."""
    return value.is_constant and (value.array.size == 1 or value.type.shape in ((width,), (1, width)))
