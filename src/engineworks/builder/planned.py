"""A graph cut into groups with a tactic for each; bodies of control flow are planned graphs of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from engineworks.builder.workloads import workload_of
from engineworks.core import dtypes
from engineworks.errors import UnsupportedOperator
from engineworks.ir.graph import Graph, Node, Value, regions_of
from engineworks.ir.group import Group
from engineworks.kernels.workload import Workload
from engineworks.ops.loop import Loop
from engineworks.passes.partition import PartitionOptions, partition
from engineworks.tuner.choice import Choice


@dataclass(slots=True)
class Planned:
    """What will be emitted.

    Attributes:
        works: None for groups without kernels of their own (aliases, control flow).
        choices: filled in by tuning, in the order of `groups`.
        bodies: planned regions of a control-flow group, by the group's position.
    """

    graph: Graph
    groups: list[Group]
    works: list[Workload | None]
    choices: list[Choice | None] = field(default_factory=list)
    bodies: dict[int, tuple[Planned, ...]] = field(default_factory=dict)

    def all(self) -> Iterator[Planned]:
        """This plan and every body, outermost first."""
        yield self
        for bodies in self.bodies.values():
            for body in bodies:
                yield from body.all()

    def named_works(self) -> list[tuple[Workload, str]]:
        """All workloads with the user's name for each."""
        return [
            (work, group.origin[0] if group.origin else group.kind)
            for plan in self.all()
            for group, work in zip(plan.groups, plan.works, strict=True)
            if work is not None
        ]

    def choose(self, chosen: dict[str, Choice]) -> None:
        """Fill in the choices of this plan and of its bodies."""
        for plan in self.all():
            plan.choices = [None if work is None else chosen[work.key()] for work in plan.works]


def plan_graph(graph: Graph, options: PartitionOptions, optimise: Callable[[Graph], None]) -> Planned:
    """Partition an optimised graph; `optimise` is applied to the bodies of its control flow first."""
    groups = partition(graph, options)
    plan = Planned(graph, groups, [])
    for number, group in enumerate(groups):
        _refuse_strings(group)
        regions = list(regions_of(group.anchor.op)) if group.kind == "anchor" else []
        if regions:
            _pass_constants(group.anchor)
            for region in regions:
                optimise(region.graph)
            plan.bodies[number] = tuple(plan_graph(region.graph, options, optimise) for region in regions)
        plan.works.append(None if group.kind == "alias" or regions else workload_of(group))
    return plan


def _refuse_strings(group: Group) -> None:
    """Kernels compute with numbers; strings known at build are gone by now.

    Raises:
        UnsupportedOperator: the group reads or writes strings; names the nodes.
    """
    values = [v for node in group.nodes for v in (*node.inputs, *node.outputs) if v is not None]
    strings = dict.fromkeys(v.name or str(v.type) for v in values if v.type.dtype is dtypes.string)
    if strings:
        where = f"{group.anchor.op.name} at node '{', '.join(group.origin)}'"
        raise UnsupportedOperator(
            f"{where} works on strings ({', '.join(strings)}), for which there are no kernels.\n"
            f"  Strings known at build are computed there; do the rest outside of the model and pass numbers in."
        )


def _pass_constants(node: Node) -> None:
    """Captured constants become constants of the body, where they can be folded and packed."""
    for value, inner in _captured(node):
        if value is not None and value.is_constant:
            inner.constant, inner.known = value.constant, value.known


def _captured(node: Node) -> list[tuple[Value | None, Value]]:
    """What bodies read of the graph around them, and their own inputs for it."""
    inside = [v for region in regions_of(node.op) for v in region.graph.inputs]
    if isinstance(node.op, Loop):
        return list(zip(node.inputs, inside, strict=True))[2 + node.op.carried :]
    return list(zip(node.inputs[1:], inside, strict=True))
