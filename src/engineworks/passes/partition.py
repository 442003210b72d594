"""Cut the graph into groups: native ops with their epilogues, fused loop nests, concatenated pieces, aliases."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

from engineworks.core.dims import symbols_of
from engineworks.errors import Error
from engineworks.ir.graph import Graph, Node
from engineworks.ir.group import Group
from engineworks.passes.decompose import is_fusible
from engineworks.passes.partition_anchor import grow_epilogue
from engineworks.passes.partition_loops import LoopGrower
from engineworks.passes.partition_parts import reading_parts
from engineworks.passes.partition_views import is_alias


@dataclass(frozen=True, slots=True)
class PartitionOptions:
    """What may fuse.

    Attributes:
        epilogue_ops: native ops whose kernels take pointwise work behind them.
        extra_outputs: loop nests may also store inner values that others read.
        max_cost: primitive applications in one loop nest.
        part_readers: native ops whose kernels read parts of tensors in place, through strides.
    """

    epilogue_ops: frozenset[str]
    extra_outputs: bool = True
    max_cost: int = 160
    part_readers: frozenset[str] = frozenset()


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
        if node.op.name in options.part_readers:
            group = reading_parts(group)
        taken.update(_owned(group))
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
        return sort_groups(groups, graph)
    except Error:
        if not options.extra_outputs:
            raise
        return partition(graph, replace(options, extra_outputs=False))


def _owned(group: Group) -> set[int]:
    """Nodes (by id) that no other group may hold: all but those that only widen an operand and have other readers."""
    owned = {id(n) for n in group.nodes}
    leaving = {id(v) for v in group.outputs}
    for node in reversed(group.nodes[1:]):
        inner = [v for v in node.outputs if id(v) not in leaving]
        if any(id(user) not in owned for v in inner for user, _ in v.uses):
            owned.discard(id(node))
    return owned


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


def sort_groups(groups: list[Group], graph: Graph) -> list[Group]:
    """Groups in dependency order, otherwise in the order of their last nodes.

    A size that a launch writes is a dependency too: whoever has it in a shape comes after the writer.

    Raises:
        Error: groups depend on each other in a circle.
    """
    place = {id(node): k for k, node in enumerate(graph.nodes)}
    writers = _size_writers(groups)
    makers: dict[int, list[Group]] = {}
    for group in groups:
        for value in group.outputs:
            makers.setdefault(id(value), []).append(group)
    readers: dict[int, list[Group]] = {}
    waiting: dict[int, int] = {}
    for group in groups:
        needed = {id(g): g for v in group.inputs if v is not None for g in makers.get(id(v), ())}
        needed.update({id(writers[name]): writers[name] for name in _sizes_of(group) if name in writers})
        needed.pop(id(group), None)
        waiting[id(group)] = len(needed)
        for key in needed:
            readers.setdefault(key, []).append(group)
    rank = {id(g): (max(place[id(n)] for n in g.nodes), k) for k, g in enumerate(groups)}
    by_rank = {rank[id(g)]: g for g in groups}
    ready = [rank[id(g)] for g in groups if not waiting[id(g)]]
    heapq.heapify(ready)
    order: list[Group] = []
    while ready:
        group = by_rank[heapq.heappop(ready)]
        order.append(group)
        for reader in readers.get(id(group), ()):
            waiting[id(reader)] -= 1
            if not waiting[id(reader)]:
                heapq.heappush(ready, rank[id(reader)])
    if len(order) < len(groups):
        stuck = next(g for g in groups if waiting[id(g)])
        raise Error(f"groups depend on each other, among them {'/'.join(stuck.origin)}")
    return order


def _size_writers(groups: list[Group]) -> dict[str, Group]:
    """The group that writes each data-dependent size."""
    writers: dict[str, Group] = {}
    for group in groups:
        for node in group.nodes:
            for attribute in node.op.defines:
                found = getattr(node.op, attribute)
                for dim in found if isinstance(found, tuple) else (found,):
                    writers.update((name, group) for name in symbols_of(dim))
    return writers


def _sizes_of(group: Group) -> set[str]:
    """Symbols in the shapes a group works on."""
    values = [*group.inputs, *group.outputs, *([group.domain] if group.domain is not None else [])]
    return {name for v in values if v is not None for dim in v.type.shape for name in symbols_of(dim)}
