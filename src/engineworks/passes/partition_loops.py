"""Grow loop nests: from the last node backwards, pulling in producers while one kernel can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engineworks.core.dims import Dim, product
from engineworks.ir.graph import Graph, Node, Value
from engineworks.ir.group import Group
from engineworks.ops._kinds import Pointwise, Reduction
from engineworks.passes.decompose import is_fusible
from engineworks.passes.partition_views import FREE_VIEWS, is_alias, is_simple_view, widens

CHEAP_RECOMPUTE = 2
"""A producer of at most this many primitive applications may be computed again for each reader."""
NO_GROWTH = 1.25
"""So many times the elements are not worth a kernel of their own."""
EXPENSIVE = frozenset({"exp", "log", "tanh", "erf", "sigmoid", "gelu", "pow", "sin", "cos", "sqrt", "div", "silu",
                       "mish", "softplus", "elu", "selu", "celu"})  # fmt: skip


@dataclass(slots=True)
class Draft:
    """A group while it grows."""

    nodes: list[Node]
    domain: Value
    axes: tuple[int, ...] = ()
    cost: int = 0
    notes: list[str] = field(default_factory=list)
    inside: set[int] = field(default_factory=set)
    extra: list[Value] = field(default_factory=list)
    concat: Node | None = None
    """Of a piece: it ends by writing this concat's input number `piece`, and folds nothing."""
    piece: int = -1

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self.inside.add(id(node))
        self.cost += 0 if node.op.name in FREE_VIEWS else 1

    def row_shape(self) -> tuple[Dim, ...]:
        return tuple(1 if a in self.axes else d for a, d in enumerate(self.domain.type.shape))


class LoopGrower:
    """Makes 'loops' and 'piece' groups of the fusible nodes that are not taken yet."""

    def __init__(
        self, graph: Graph, taken: set[int], ancestors: Mapping[int, int], max_cost: int, extra: bool
    ) -> None:
        self.graph, self.taken, self.ancestors = graph, taken, ancestors
        self.max_cost, self.extra_outputs = max_cost, extra
        self.position = {id(n): k for k, n in enumerate(graph.nodes)}
        self.copied: set[int] = set()
        """Free views that several groups follow, each by itself."""

    def grow(self, root: Node) -> Group:
        """The loop nest that ends in `root`."""
        if isinstance(root.op, Reduction):
            source = root.inputs[0]
            assert source is not None
            draft = Draft([], source, root.op.normal_axes(source.type.rank))
        else:
            draft = Draft([], root.output)
        draft.add(root)
        self.taken.add(id(root))
        self._pull(draft)
        return self._finish(draft, [root.output])

    def pieces(self, concat: Node) -> list[Group]:
        """One group for each input of a concat, writing into its place."""
        groups = []
        for number, value in enumerate(concat.inputs):
            assert value is not None
            draft = Draft([], value, concat=concat, piece=number)
            draft.inside.add(id(concat))
            if not any(v is value for k, v in enumerate(concat.inputs) if k != number):
                self._pull(draft, first=value)
            nodes = tuple(sorted(draft.nodes, key=lambda n: self.position[id(n)]))
            inputs = _inputs_of(
                [*nodes, concat], only=value if not nodes else None, concat=concat, piece=value
            )
            notes = tuple(draft.notes)
            groups.append(
                Group("piece", (*nodes, concat), inputs, (concat.output,), value, (), number, notes)
            )
        return groups

    # -- growing ----------------------------------------------------------------------------------------------
    def _pull(self, draft: Draft, first: Value | None = None) -> None:
        frontier: list[Value] = (
            [first] if first is not None else [v for v in draft.nodes[0].inputs if v is not None]
        )
        while frontier:
            frontier.sort(key=lambda v: self.position[id(v.producer)] if v.producer else -1)
            value = frontier.pop()
            node = value.producer
            if node is None or id(node) in draft.inside or value.index != 0:
                continue
            why = self._obstacle(draft, node, value)
            if why is None:
                self._absorb(draft, node, value)
                frontier += [v for v in node.inputs if v is not None and v.producer is not None]
            elif why:
                draft.notes.append(f"{'/'.join(node.origin)} ({node.op.name}): {why}")

    def _absorb(self, draft: Draft, node: Node, value: Value) -> None:
        outside = self._outside(draft, value)
        if isinstance(node.op, Reduction) and not draft.axes:
            source = node.inputs[0]
            assert source is not None
            draft.axes, draft.domain = node.op.normal_axes(source.type.rank), source
        draft.add(node)
        if not outside:
            self.taken.add(id(node))
        elif node.op.name in FREE_VIEWS or widens(node):
            self.copied.add(id(node))
        else:
            draft.extra.append(value)
            self.taken.add(id(node))

    def _outside(self, draft: Draft, value: Value) -> list[Node]:
        users = [
            u for u, position in value.uses
            if id(u) not in draft.inside or id(u) in self.copied or (u is draft.concat and position != draft.piece)
        ]  # fmt: skip
        return users + ([value.producer] if self.graph.is_output(value) and value.producer else [])

    def _obstacle(self, draft: Draft, node: Node, value: Value) -> str | None:
        """Why `node` cannot join: None when it can, '' when that is not worth a word."""
        if id(node) in self.taken or not is_fusible(node) or node.op.name == "concat":
            return ""
        if is_alias(node) and not self._alias_leads_on(node, draft):
            return ""
        if draft.cost >= self.max_cost:
            return f"the loop nest already holds {draft.cost} operations"
        outside = self._outside(draft, value)
        free = node.op.name in FREE_VIEWS or widens(node)
        if outside and not free and not self._may_store(draft, node, value, outside):
            return "its result is also read elsewhere"
        if outside and free and self.graph.is_output(value):
            return "it is an output"
        return self._shape_obstacle(draft, node)

    def _shape_obstacle(self, draft: Draft, node: Node) -> str | None:
        if isinstance(node.op, Reduction):
            return self._reduction_obstacle(draft, node)
        if draft.axes:
            shape = node.output.type.shape
            fits = shape in (draft.domain.type.shape, draft.row_shape()) or is_simple_view(node)
            if not fits and _count_grows(shape, draft.domain.type.shape) and not _is_cheap(node):
                return f"{node.output.type} would be computed again for each of {draft.domain.type}"
            return None
        if _count_grows(node.output.type.shape, draft.domain.type.shape) and not _is_cheap(node):
            return f"{node.output.type} would be computed again for each element of {draft.domain.type}"
        if node.op.name not in FREE_VIEWS and any(
            not _reads_in_place(u, node) for u in self._users(draft, node)
        ):
            return (
                None if _is_cheap(node) else "a reader takes its elements in another order or several times"
            )
        return None

    def _users(self, draft: Draft, node: Node) -> list[Node]:
        return [u for u, _ in node.output.uses if id(u) in draft.inside and u is not draft.concat]

    def _reduction_obstacle(self, draft: Draft, node: Node) -> str | None:
        source = node.inputs[0]
        assert source is not None and isinstance(node.op, Reduction)
        axes = node.op.normal_axes(source.type.rank)
        if not axes:
            return "nothing is folded"
        if draft.concat is not None:
            return "a piece of a concat folds nothing"
        users = self._users(draft, node)
        if not all(isinstance(u.op, Pointwise) for u in users) or not draft.nodes:
            return "its result is read through a view"
        if draft.axes:
            same = source.type.shape == draft.domain.type.shape and axes == draft.axes
            return None if same and node.op.keepdims else "another reduction folds other axes"
        shapes = {n.output.type.shape for n in draft.nodes}
        rowwise = shapes == {node.output.type.shape}
        if rowwise and all(isinstance(n.op, Pointwise) for n in draft.nodes):
            return None
        if node.op.keepdims and draft.domain.type.shape == source.type.shape:
            allowed = (source.type.shape, node.output.type.shape)
            if all(isinstance(n.op, Pointwise) and n.output.type.shape in allowed for n in draft.nodes):
                return None
        return "the result is spread over another domain"

    def _alias_leads_on(self, node: Node, draft: Draft) -> bool:
        """A view that costs nothing alone is only worth following to arithmetic that can join behind it."""
        source = node.inputs[0]
        if source is None or source.producer is None or not is_simple_view(node) or draft.axes:
            return False
        behind = source.producer
        alone = len(source.uses) == 1 and not self.graph.is_output(source)
        return (
            alone and is_fusible(behind) and id(behind) not in self.taken and isinstance(behind.op, Pointwise)
        )

    def _may_store(self, draft: Draft, node: Node, value: Value, outside: list[Node]) -> bool:
        """An inner value of the full domain can be stored on the way when no reader of it leads back into the group."""
        if not self.extra_outputs or value.type.shape != draft.domain.type.shape:
            return False
        # The same numbers in two types are one kernel's, folds or not.
        rounds = bool(draft.nodes) and draft.concat is None and all(n.op.name == "cast" for n in draft.nodes)
        if not (draft.axes or rounds):
            return False
        if not isinstance(node.op, Pointwise) or len(draft.extra) >= 2 or self.graph.is_output(value):
            return False
        needed = 0
        for member in [*draft.nodes, node]:
            makers = [v.producer for v in member.inputs if v is not None and v.producer is not None]
            for maker in makers:
                if id(maker) not in draft.inside and maker is not node:
                    needed |= self.ancestors[id(maker)]
        return not any(needed >> self.position[id(u)] & 1 for u in outside)

    def _finish(self, draft: Draft, outputs: list[Value]) -> Group:
        nodes = sorted(draft.nodes, key=lambda n: self.position[id(n)])
        inputs = _inputs_of(nodes)
        return Group(
            "loops",
            tuple(nodes),
            inputs,
            (*outputs, *draft.extra),
            draft.domain,
            draft.axes,
            notes=tuple(draft.notes),
        )


def _inputs_of(
    nodes: list[Node], *, only: Value | None = None, concat: Node | None = None, piece: Value | None = None
) -> tuple[Value, ...]:
    """Values from outside, each once; one-element constants are part of the code. Of a concat only the piece counts."""
    if only is not None:
        return () if only.is_constant and only.array.size == 1 else (only,)
    inside = {id(v) for n in nodes for v in n.outputs}
    found: dict[int, Value] = {}
    for node in nodes:
        for value in [piece] if node is concat else node.inputs:
            if value is None or id(value) in inside or (value.is_constant and value.array.size == 1):
                continue
            found.setdefault(id(value), value)
    return tuple(found.values())


def _count_grows(smaller: tuple[Dim, ...], larger: tuple[Dim, ...]) -> bool:
    """True unless `smaller` surely has as many elements as `larger`, or nearly: a border of padding is no growth."""
    a, b = product(smaller), product(larger)
    if isinstance(a, int) and isinstance(b, int):
        return a * NO_GROWTH < b
    return a != b


def _is_cheap(node: Node) -> bool:
    if node.op.name in EXPENSIVE or isinstance(node.op, Reduction):
        return False
    return node.op.name in FREE_VIEWS or not isinstance(node.op, Pointwise) or _small(node)


def _small(node: Node) -> bool:
    """A pointwise op of few primitives, none of them expensive, whose own inputs will be read, not computed."""
    return len(node.inputs) <= CHEAP_RECOMPUTE


def _reads_in_place(user: Node, node: Node) -> bool:
    """The reader takes each element once: pointwise of the same shape, or a simple view."""
    if isinstance(user.op, Pointwise):
        return True
    return isinstance(user.op, Reduction) or is_simple_view(user)
