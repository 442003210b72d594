"""Where values live: each value's storage, and the memory plan of those in the arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engineworks.core.dims import Dim, bounds
from engineworks.core.dtypes import DType
from engineworks.engine import schema
from engineworks.errors import BuildError
from engineworks.ir.graph import Graph, Value
from engineworks.ir.group import Group
from engineworks.planner.arena import plan
from engineworks.planner.liveness import Step as Moment
from engineworks.planner.liveness import lives_of


@dataclass(slots=True)
class Storage:
    """One buffer of the engine.

    Attributes:
        place: as in the manifest.
        number: input or output number; set by planning for the arena.
        size: bytes.
        value: what it holds (workspaces hold none).
    """

    place: str
    size: Dim
    number: int = 0
    value: Value | None = None
    index: int = -1


@dataclass(slots=True)
class Storages:
    """Buffers by value, following aliases."""

    of_value: dict[int, Storage] = field(default_factory=dict)
    all: list[Storage] = field(default_factory=list)

    def add(self, storage: Storage) -> Storage:
        storage.index = len(self.all)
        self.all.append(storage)
        return storage


def allocate(storages: Storages, graph: Graph, groups: Sequence[Group], outputs: Sequence[Storage]) -> None:
    """A storage for every value that a group writes; constants excepted. Inputs have theirs already.

    Args:
        outputs: storages of the graph's outputs: the engine's own, or those of the control flow around a body.
    """
    placed = {id(root_of(v, groups)): s for v, s in reversed(list(zip(graph.outputs, outputs, strict=True)))}
    for group in groups:
        if group.kind == "alias":
            source = group.inputs[0]
            assert source is not None
            storages.of_value[id(group.outputs[0])] = storages.of_value[id(source)]
            continue
        for value in group.outputs:
            if id(value) in storages.of_value:
                continue  # another piece of the same concat
            storage = placed.get(id(value)) or storages.add(Storage("arena", value.type.size_bytes, 0, value))
            storages.of_value[id(value)] = storage


def root_of(value: Value, groups: Sequence[Group]) -> Value:
    """The value whose memory `value` is."""
    sources = {id(g.outputs[0]): g.inputs[0] for g in groups if g.kind == "alias"}
    while id(value) in sources:
        source = sources[id(value)]
        assert source is not None
        value = source
    return value


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Arena offsets by storage index, and how good they are.

    Attributes:
        total: bytes of the arena.
        lower_bound: peak of bytes alive at once.
        unshared: bytes without any reuse.
    """

    offsets: Mapping[int, int]
    total: int
    lower_bound: int
    unshared: int


def upper_bytes(size: Dim, what: str) -> int:
    """The most bytes a buffer can take.

    Raises:
        BuildError: a dim has no upper bound, so no memory can be planned.
    """
    most = size if isinstance(size, int) else bounds(size)[1]
    if most is None:
        raise BuildError(
            f"{what} may grow without bound ({size} bytes); give its dims a maximum in the profile"
        )
    return -(-max(most, 1) // 64) * 64


def plan_memory(
    storages: Storages, moments: Sequence[Moment], loops: Sequence[tuple[int, int]] = ()
) -> MemoryPlan:
    """Place the arena's storages.

    Args:
        moments: name storages by index, one a launch.
        loops: (first, last) launches that repeat, inner loops before outer ones.
    """
    arena = [s for s in storages.all if s.place == "arena"]
    number = {s.index: k for k, s in enumerate(arena)}
    sizes = [upper_bytes(s.size, _name(s)) for s in arena]
    steps = [
        Moment(
            tuple(number[i] for i in m.reads if i in number),
            tuple(number[i] for i in m.writes if i in number),
            tuple((number[a], number[b]) for a, b in m.in_place if a in number and b in number),
        )
        for m in moments
    ]
    touched = {i for s in steps for i in (*s.reads, *s.writes)}
    idle = [k for k in range(len(arena)) if k not in touched]
    lives = lives_of(sizes, steps, given=idle, loops=loops)
    placed = plan(lives)
    offsets = {s.index: placed.offsets[number[s.index]] for s in arena}
    return MemoryPlan(offsets, placed.total, placed.lower_bound, sum(sizes))


def _name(storage: Storage) -> str:
    value = storage.value
    return f"'{value.name}'" if value is not None and value.name else "a temporary buffer"


def described(value: Value) -> schema.Value:
    """How the manifest describes what a buffer holds."""
    dtype: DType = value.type.dtype
    layout = value.type.layout
    return schema.Value(
        name=value.name,
        dtype=dtype.name,
        dims=tuple(dim_text(d) for d in value.type.shape),
        order=layout.order if layout else (),
        row_pad=layout.row_pad if layout else 0,
    )


def dim_text(dim: Dim) -> int | str:
    """A dim as the manifest writes it."""
    return dim if isinstance(dim, int) else str(dim)
