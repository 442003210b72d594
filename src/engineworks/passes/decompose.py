"""Break ops that nobody claims into simpler ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from engineworks.errors import UnsupportedOperator
from engineworks.ir.graph import Node
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._kinds import Reduction


@dataclass(frozen=True, slots=True)
class Decompose:
    """Replace every op that is neither fusible nor claimed by a kernel through its `decompose`.

    Args:
        claims: says whether a kernel family takes the node as it is.
    Raises:
        UnsupportedOperator: an op with neither; lists all of them with the nodes' names.
    """

    claims: Callable[[Node], bool]
    name: ClassVar[str] = "decompose"

    def run(self, rewriter: Rewriter) -> None:
        stuck: list[Node] = []
        pending = list(rewriter.graph.nodes)
        while pending:
            made: list[Node] = []
            for node in pending:
                if is_fusible(node) or self.claims(node):
                    continue
                new = _apply(rewriter, node) if type(node.op).has("decompose") else [node]
                # What decomposes to itself, as a recurrent layer in f32 does, is stuck too.
                same = [n for n in new if n.op == node.op and n.inputs[0].type == node.inputs[0].type]  # type: ignore[union-attr]
                stuck += same
                made += [n for n in new if n not in same]
            pending = made
        if stuck:
            names = ", ".join(f"{n.op.name} at '{'/'.join(n.origin)}'" for n in stuck[:20])
            raise UnsupportedOperator(f"no kernel computes {len(stuck)} node(s): {names}")


def is_fusible(node: Node) -> bool:
    """The loop generator computes it: it has a scalar form, or is a reduction."""
    return type(node.op).has("element") or isinstance(node.op, Reduction)


def _apply(rewriter: Rewriter, node: Node) -> list[Node]:
    before = len(rewriter.graph.nodes)
    with rewriter.building(node) as g:
        result = node.op.decompose(g, *node.inputs)
    new = list(result) if isinstance(result, tuple) else [result]
    for old, value in zip(node.outputs, new, strict=True):
        if value is not None:
            rewriter.redirect(old, value)
        assert not old.uses or value is not None, f"{node.op} decomposes without an output that is read"
    return rewriter.graph.nodes[before:]
