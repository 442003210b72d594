"""Cut the graph into groups: native ops with their epilogues, fused loop nests, concatenated pieces, aliases."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engineworks.errors import Error
from engineworks.ir.graph import Graph, Node, Value
from engineworks.ir.group import Group
from engineworks.passes.decompose import is_fusible
from engineworks.passes.partition_anchor import grow_epilogue
from engineworks.passes.partition_loops import LoopGrower
from engineworks.passes.partition_views import is_alias


@dataclass(frozen=True, slots=True)
class PartitionOptions:
    """What may fuse.

    Attributes:
        epilogue_ops: native ops whose kernels take pointwise work behind them.
        extra_outputs: loop nests may also store inner values that others read.
        max_cost: primitive applications in one loop nest.
    """

    epilogue_ops: frozenset[str]
    extra_outputs: bool = True
    max_cost: int = 160


def partition(graph: Graph, options: PartitionOptions) -> list[Group]:
    """Groups in an order that defines before use; every live node is in one (free views may be in several).

    Raises:
        Error: groups depend on each other in a circle (our bug).
    """
    taken: set[int] = set()
    groups: list[Group] = []
    ancestors = _ancestors(graph)
    for node in graph.nodes:
        if is_fusible(node):
            continue
        group = grow_epilogue(graph, node, taken, ancestors, fuses=node.op.name in options.epilogue_ops)
        taken.update(id(n) for n in group.nodes)
        groups.append(group)
    grower = LoopGrower(graph, taken, ancestors, options.max_cost, options.extra_outputs)
    read = {id(v) for v in (*graph.outputs, *[v for g in groups for v in g.inputs])}
    for node in reversed(graph.nodes):
        if id(node) in taken or not any(id(v) in read for v in node.outputs):
            continue  # whoever needs this view follows it by itself
        made = _groups_from(node, grower)
        read.update(id(v) for g in made for v in g.inputs)
        groups += made
    try:
        return sort_groups(groups)
    except Error:
        if not options.extra_outputs:
            raise
        return partition(graph, PartitionOptions(options.epilogue_ops, extra_outputs=False, max_cost=options.max_cost))


def _groups_from(node: Node, grower: LoopGrower) -> list[Group]:
    """The groups that end in a fusible node."""
    if is_alias(node):
        grower.taken.add(id(node))
        return [Group("alias", (node,), (node.inputs[0],), (node.output,))]
    if node.op.name == "concat":
        grower.taken.add(id(node))
        return grower.pieces(node)
    return [grower.grow(node)]


def _ancestors(graph: Graph) -> dict[int, int]:
    """For each node (by id) a bit mask of the positions of all nodes it depends on, itself included."""
    masks: dict[int, int] = {}
    for position, node in enumerate(graph.nodes):
        mask = 1 << position
        for value in node.inputs:
            if value is not None and value.producer is not None:
                mask |= masks[id(value.producer)]
        masks[id(node)] = mask
    return masks


def sort_groups(groups: list[Group]) -> list[Group]:
    """Groups in dependency order, otherwise by the place of their first node. Raises Error on a circle."""
    makers: dict[int, list[Group]] = {}
    for group in groups:
        for value in group.outputs:
            makers.setdefault(id(value), []).append(group)
    order: list[Group] = []
    state: dict[int, int] = {}

    def needs(group: Group) -> list[Group]:
        return [g for v in group.inputs if v is not None for g in makers.get(id(v), ()) if g is not group]

    for root in groups[::-1] if not groups else sorted(groups, key=_first_origin(groups)):
        stack: list[tuple[Group, list[Group]]] = [(root, needs(root))] if id(root) not in state else []
        if stack:
            state[id(root)] = 1
        while stack:
            group, waiting = stack[-1]
            if not waiting:
                state[id(group)] = 2
                order.append(group)
                stack.pop()
                continue
            following = waiting.pop()
            if state.get(id(following)) == 1:
                raise Error(f"groups depend on each other: {group.origin} and {following.origin}")
            if id(following) not in state:
                state[id(following)] = 1
                stack.append((following, needs(following)))
    return order


def _first_origin(groups: list[Group]) -> Callable[[Group], int]:
    """Keep the order in which groups' last nodes were created: close to the model's own order."""
    rank: dict[int, int] = {id(g): k for k, g in enumerate(groups)}
    return lambda group: rank[id(group)]


def live_values(groups: list[Group]) -> list[Value]:
    """All values that become buffers or aliases, each once."""
    seen: dict[int, Value] = {}
    for group in groups:
        for value in group.outputs:
            seen.setdefault(id(value), value)
    return list(seen.values())


def nodes_in(groups: list[Group]) -> list[Node]:
    """Every node of every group."""
    return [n for g in groups for n in g.nodes]
