"""What is known where while a loop nest is emitted.

A `Scope` holds the values computed at one loop depth: scalars, their splats, addresses. A `Lanes` is a group of
neighbouring positions along the vector axis within a scope. The optimiser does no hoisting, so `Scope.hoist` is called
before every loop and emits all that the loop does not change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loops_index import Linear, linear_of, narrowed
from engineworks.codegen.llvm.loops_memory import Memory, Place
from engineworks.codegen.llvm.loops_nest import Fold, Nest
from engineworks.codegen.llvm.prims import VectorEmitter
from engineworks.codegen.llvm.vector import Vector
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.ir.scalar import Scalar, axis

Facts = frozenset[object]
"""What a value depends on: axis ids, and ('stage', k)."""


@dataclass(slots=True)
class Emission:
    """What all scopes of one kernel share."""

    f: Function
    isa: Isa
    nest: Nest
    memory: Memory
    vector_axis: int
    sizes: dict[Dim, str]
    depth: dict[int, int]
    facts: dict[Scalar, Facts]
    stages_are_vectors: bool

    def facts_of(self, node: Scalar) -> Facts:
        """The axes and stages that `node` depends on."""
        stack = [node]
        while stack:
            top = stack[-1]
            waiting = [a for a in top.args if a not in self.facts]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            found = (
                frozenset().union(*(self.facts[a] for a in top.args)) if top.args else self._leaf_facts(top)
            )
            if top.head == "load" and top.payload < 0:
                found |= self._keepers(top.payload)
            self.facts[top] = found
        return self.facts[node]

    def _leaf_facts(self, leaf: Scalar) -> Facts:
        if leaf.head == "axis":
            return frozenset({leaf.payload})
        if leaf.head == "stage":
            own = frozenset({("stage", leaf.payload)})
            return own | {self.vector_axis} if self.stages_are_vectors else own
        return frozenset()

    def _keepers(self, operand: int) -> Facts:
        """The stages that write the output which this operand reads back."""
        return frozenset(
            ("stage", number)
            for number, stage in enumerate(self.nest.stages)
            if isinstance(stage, Fold) and any(save.output == -1 - operand for save in stage.saves)
        )

    def size(self, dim: Dim) -> Size:
        """A dim as a constant or the argument word that holds it."""
        return dim if isinstance(dim, int) else self.sizes[dim]

    def is_moving(self, node: Scalar) -> bool:
        """Whether the value differs between lanes."""
        return self.vector_axis in self.facts_of(node)

    def rank(self, atom: Scalar) -> int:
        """Depth of the innermost loop that an address term changes in."""
        return max((self.depth.get(fact, 0) for fact in self.facts_of(atom)), default=0)  # type: ignore[arg-type]


class Scope:
    """Values at one loop depth; `inner` opens the next one, which sees them all."""

    def __init__(self, emission: Emission, parent: Scope | None = None) -> None:
        self.emission = emission
        self.indices: dict[int, Size] = dict(parent.indices) if parent else {}
        self.known: set[object] = set(parent.known) if parent else set()
        self.scalars: dict[Scalar, Vector] = dict(parent.scalars) if parent else {}
        self.splats: dict[tuple[Scalar, int], Vector] = dict(parent.splats) if parent else {}
        self.addresses: dict[tuple[int, Scalar], str] = dict(parent.addresses) if parent else {}
        self.groups: list[Lanes] = [g.within(self) for g in parent.groups] if parent else []

    def inner(self, axis_id: int | None = None, index: Size = 0) -> Scope:
        """The scope of a loop body or branch; of a loop over an axis, with that axis at `index`."""
        scope = Scope(self.emission, self)
        if axis_id is not None:
            scope.indices[axis_id] = index
            scope.known.add(axis_id)
        return scope

    def learn(self, stage: int, dtype: DType, value: Vector) -> None:
        """The scalar result of a stage (compute form)."""
        self.scalars[Scalar.make("stage", (), dtype, stage)] = value
        self.known.add(("stage", stage))

    # -- values -----------------------------------------------------------------------------------------------
    def scalar(self, node: Scalar) -> Vector:
        """A value that is the same in all lanes, in compute form, one lane."""
        e = self.emission
        for load in _loads_below(node, self.scalars):
            self.scalars[load] = self._load(load)
        return VectorEmitter(e.f, e.isa, 1, self._leaf, self.scalars).vector(node)

    def _leaf(self, leaf: Scalar) -> str:
        if leaf.head == "axis":
            return str(self.indices[leaf.payload])
        assert leaf.head == "size", f"{leaf.head} is not known in this scope: {leaf}"
        return str(self.emission.size(leaf.payload))

    def _load(self, node: Scalar) -> Vector:
        form = linear_of(node.args[0])
        place = Place(node.payload, self.address(node.payload, form), 1)
        guard = self.scalar(node.args[1]) if len(node.args) > 1 else None
        return casts.decode(node.dtype, self.emission.memory.load_one(place, node.dtype, guard))

    def offset(self, form: Linear) -> Size:
        """A flat offset whose terms are all known here."""
        if not form.terms:
            return self.emission.size(form.constant)
        return self.scalar(form.scalar(self.emission.rank)).name

    def address(self, operand: int, form: Linear) -> str:
        """The element of a buffer at an offset that is the same in all lanes."""
        e = self.emission
        constant = form.constant if isinstance(form.constant, int) else 0
        rest = Linear(form.constant - constant, form.terms)
        key = (operand, rest.scalar(e.rank))
        if key not in self.addresses:
            self.addresses[key] = e.memory.at(operand, e.memory.base(operand), self.offset(rest))
        return e.memory.at(operand, self.addresses[key], constant)

    def splat(self, node: Scalar, lanes: int) -> Vector:
        """A value that is the same in all lanes, on `lanes` lanes."""
        key = (node, lanes)
        if key not in self.splats:
            self.splats[key] = _broadcast(self.scalar(node), lanes)
        return self.splats[key]

    # -- hoisting ---------------------------------------------------------------------------------------------
    def hoist(self, expressions: Iterable[Scalar], lanes: int) -> None:
        """Emit every largest subexpression that is known here."""
        e = self.emission
        here = self.known | {e.vector_axis} if self.groups else self.known
        seen: set[Scalar] = set()
        stack = list(expressions)
        while stack:
            node = stack.pop()
            if node in seen or node.head in ("const", "size"):
                continue
            seen.add(node)
            facts = e.facts_of(node)
            if facts <= self.known:
                self.splat(node, lanes)
            elif facts <= here:
                for group in self.groups:
                    group.vector(node)
            elif node.head == "load":
                stack += [*self.hoist_address(node.payload, node.args[0]), *node.args[1:]]
            else:
                stack += node.args

    def hoist_address(self, operand: int, offset: Scalar) -> list[Scalar]:
        """Emit what is known of an address; returns the terms that vary between lanes in a way that is not linear."""
        e = self.emission
        form = linear_of(offset)
        still = Linear(form.constant, tuple(t for t in form.terms if not e.is_moving(t[0])))
        if all(e.facts_of(atom) <= self.known for atom, _ in still.terms):
            self.address(operand, still)
        else:
            self._hoist_prefix(still.scalar(e.rank))
        return [atom for atom, _ in form.terms if e.is_moving(atom) and atom.head != "axis"]

    def _hoist_prefix(self, expr: Scalar) -> None:
        stack = [expr]
        while stack:
            node = stack.pop()
            if node.args and self.emission.facts_of(node) <= self.known:
                self.scalar(node)
            else:
                stack.extend(node.args)


class Lanes:
    """Positions `index` … `index + lanes - 1` of the vector axis; `mask` says which of them exist (None: all)."""

    def __init__(self, scope: Scope, index: Size, lanes: int, mask: Vector | None = None) -> None:
        self.scope, self.index, self.lanes, self.mask = scope, index, lanes, mask
        self.values: dict[Scalar, Vector] = {}

    def within(self, scope: Scope) -> Lanes:
        """The same positions in an inner scope."""
        copy = Lanes(scope, self.index, self.lanes, self.mask)
        copy.values = dict(self.values)
        return copy

    def vector(self, expr: Scalar) -> Vector:
        """The value in compute form, one element a lane."""
        e = self.scope.emission
        stack = [expr]
        while stack:
            node = stack.pop()
            if node in self.values or node.head == "const":
                continue
            if not e.is_moving(node):
                self.values[node] = self.scope.splat(node, self.lanes)
            elif node.head == "load":
                self.values[node] = self._load(node)
            elif node.head == "cast" and node.dtype.name == "i32" and node.args[0].head == "axis":
                narrow = e.f.value(f"trunc i64 {self.index} to i32")
                self.values[node] = self._ramp(Vector(e.f, e.isa, "i32", 1, narrow))
            else:
                stack.extend(node.args)
        return VectorEmitter(e.f, e.isa, self.lanes, self._leaf, self.values).vector(expr)

    def _leaf(self, leaf: Scalar) -> str:
        assert leaf.head == "axis", f"{leaf.head} is not known in these lanes: {leaf}"
        e = self.scope.emission
        return self._ramp(Vector(e.f, e.isa, "i64", 1, str(self.index))).name

    def _ramp(self, first: Vector) -> Vector:
        """first, first + 1, … one a lane."""
        start = _broadcast(first, self.lanes)
        if self.lanes == 1:
            return start
        steps = ", ".join(f"{first.kind} {k}" for k in range(self.lanes))
        return start + start.of(f"<{steps}>")

    # -- memory -----------------------------------------------------------------------------------------------
    def place(self, operand: int, offset: Scalar) -> Place:
        """Where the lanes' elements lie."""
        e = self.scope.emission
        form = linear_of(offset)
        still = Linear(form.constant, tuple(t for t in form.terms if not e.is_moving(t[0])))
        moving = tuple(t for t in form.terms if e.is_moving(t[0]))
        start = self.scope.address(operand, still)
        if len(moving) == 1 and moving[0][0] is axis(e.vector_axis):
            stride = e.size(moving[0][1])
            return Place(operand, e.memory.at(operand, start, e.f.mul(self.index, stride)), stride)
        steps = Linear(0, moving).scalar(e.rank)
        return Place(operand, start, self.vector(narrowed(steps, e.nest.extents) or steps))

    def _load(self, node: Scalar) -> Vector:
        e = self.scope.emission
        place, mask, condition = self.place(node.payload, node.args[0]), self.mask, None
        if len(node.args) > 1 and e.is_moving(node.args[1]):
            guard = self.vector(node.args[1])
            mask = guard if mask is None else guard & mask
        elif len(node.args) > 1:
            condition = self.scope.scalar(node.args[1])
        return casts.decode(node.dtype, e.memory.load(place, node.dtype, self.lanes, mask, condition))

    def store(self, output: int, offset: Scalar, body: Scalar) -> None:
        """Write one element a lane."""
        value = self.vector(body)
        place = self.place(-1 - output, offset)
        self.scope.emission.memory.store(place, body.dtype, casts.encode(body.dtype, value), self.mask)


def _loads_below(node: Scalar, done: dict[Scalar, Vector]) -> list[Scalar]:
    """Loads that the value needs, the outermost ones: their addresses are emitted on their own."""
    found: list[Scalar] = []
    seen: set[Scalar] = set()
    stack = [node]
    while stack:
        top = stack.pop()
        if top in seen or top in done:
            continue
        seen.add(top)
        if top.head == "load":
            found.append(top)
        else:
            stack.extend(top.args)
    return found


def _broadcast(value: Vector, lanes: int) -> Vector:
    """The scalar in every lane."""
    f = value.f
    wide = Vector(f, value.isa, value.kind, lanes, "")
    if lanes == 1:
        return value
    if not value.name.startswith("%"):
        return wide.of(f"splat ({value.kind} {value.name})")
    if value.kind == "i1":
        text = f"select i1 {value.name}, {wide.type} {wide.splat(True).name}, {wide.type} zeroinitializer"
        return wide.of(f.value(text))
    first = f.value(f"insertelement {wide.type} poison, {value.kind} {value.name}, i32 0")
    zeros = Vector(f, value.isa, "i32", lanes, "").type
    return wide.of(f.value(f"shufflevector {wide.type} {first}, {wide.type} poison, {zeros} zeroinitializer"))
