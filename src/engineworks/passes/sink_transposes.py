"""Transposes of leading axes around products: rows may come in any order, so a product need not wait for another one.

transpose(x) @ w + b, transposed back, becomes x @ w + b: [sequence, batch, features], as some attention layers want it,
turns into views that the attention's kernel follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._kinds import Pointwise
from engineworks.passes.sink_reshapes import chain_to_matmul, is_along_last_axis, moves


@dataclass(frozen=True, slots=True)
class SinkTransposes:
    """Move transposes that keep the last axis behind matmuls with constant matrices and the pointwise work on them, or
    in front of both where they meet views.
    """

    name: ClassVar[str] = "sink transposes"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            if node.op.name == "matmul" or (isinstance(node.op, Pointwise) and len(node.outputs) == 1):
                self._sink(rewriter, node)
        for node in list(rewriter.graph.nodes):
            if _keeps_last(node):
                self._hoist(rewriter, node)
        rewriter.tidy()
        for node in list(rewriter.graph.nodes):
            if _keeps_last(node):
                self._behind_reshape(rewriter, node)

    def _sink(self, rewriter: Rewriter, node: Node) -> None:
        moving = [v for v in node.inputs if moves(v)]
        value = moving[0] if len(moving) == 1 else None
        if value is None or value.producer is None or not _keeps_last(value.producer):
            return
        source, perm = value.producer.inputs[0], value.producer.op.perm  # type: ignore[attr-defined]
        if source is None or not moves(source) or source.type.rank < 3 or _is_view(source):
            return
        if not self._follows(rewriter, node, value):
            return
        with rewriter.building(node) as g:
            made = g.add_node(node.op, [source if v is value else v for v in node.inputs])[0]
            turned = g.transpose(made, perm=perm)
        rewriter.replace("sink transpose", [node.output], [turned], [node])

    def _follows(self, rewriter: Rewriter, node: Node, value: Value) -> bool:
        """The node works on rows one by one."""
        if node.op.name == "matmul":
            weights = node.inputs[1]
            return value is node.inputs[0] and weights is not None and weights.type.rank == 2
        if len(value.uses) != 1 or rewriter.graph.is_output(value):
            return False
        if value.type.shape != node.output.type.shape:
            return False
        width = value.type.shape[-1]
        return all(v is None or v is value or is_along_last_axis(v, width) for v in node.inputs)

    def _hoist(self, rewriter: Rewriter, node: Node) -> None:
        given = node.inputs[0]
        chain = [] if given is None else chain_to_matmul(rewriter, given)
        rows = chain[-1].inputs[0] if chain else None
        if rows is None or not _is_view(rows) or rows.type.rank != node.output.type.rank:
            return
        with rewriter.building(node, *chain) as g:
            made = g.transpose(rows, perm=node.op.perm)  # type: ignore[attr-defined]
            for each in reversed(chain):
                made = g.add_node(each.op, [made if moves(v) else v for v in each.inputs])[0]
        rewriter.replace("transpose in front of product", [node.output], [made], [node])

    def _behind_reshape(self, rewriter: Rewriter, node: Node) -> None:
        """transpose(reshape(x)), where the reshape merges trailing axes into its last: reshape(transpose(x))."""
        shaped = node.inputs[0]
        view = None if shaped is None else shaped.producer
        source = None if view is None or view.op.name != "reshape" else view.inputs[0]
        if source is None or shaped is None or not moves(source):
            return
        leading = shaped.type.rank - 1
        if source.type.rank <= shaped.type.rank or source.type.shape[:leading] != shaped.type.shape[:leading]:
            return
        perm = (*node.op.perm[:-1], *range(leading, source.type.rank))  # type: ignore[attr-defined]
        with rewriter.building(node) as g:
            made = g.reshape(g.transpose(source, perm=perm), shape=node.output.type.shape)
        rewriter.replace("transpose in front of reshape", [node.output], [made], [node])


def _keeps_last(node: Node) -> bool:
    return node.op.name == "transpose" and node.op.perm[-1] == node.output.type.rank - 1  # type: ignore[attr-defined]


def _is_view(value: Value) -> bool:
    return value.producer is not None and value.producer.op.name in ("reshape", "transpose", "slice")
