"""Which schedule a nest gets: the vector axis by how operands lie in memory, tasks by how much work they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.loops_index import Linear, axis_term, linear_of
from engineworks.codegen.llvm.loops_nest import Fold, Nest, Write
from engineworks.codegen.llvm.loops_tile import tile_loads
from engineworks.codegen.llvm.vector import BITS, compute_kind
from engineworks.codegen.schedule import CpuSchedule, likely
from engineworks.core.dims import product
from engineworks.ir.scalar import LEAVES, Scalar, leaves_of

_TASK_ELEMENTS = 8192
"""Elements of a task: large enough that a task's start costs nothing, small enough to share and to stay in L1."""
_LEAST_TASKS = 64


@dataclass(frozen=True, slots=True)
class Access:
    """One address of a nest: how often it is used and where."""

    form: Linear
    is_store: bool
    over_reduced: bool
    size_bytes: int


def accesses_of(nest: Nest) -> list[Access]:
    """Every load and store."""
    found: list[Access] = []
    for stage in nest.stages:
        over = isinstance(stage, Fold) or stage.over_reduced
        for load in leaves_of(stage.body, "load"):
            found.append(Access(linear_of(load.args[0]), False, over, load.dtype.size_bytes))
        if isinstance(stage, Write):
            found.append(
                Access(linear_of(stage.offset), True, stage.over_reduced, stage.body.dtype.size_bytes)
            )
    return found


def work_of(nest: Nest) -> float:
    """Primitive applications of one point, all stages together."""
    seen: set[Scalar] = set()
    stack = [s.body for s in nest.stages]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.args)
    return float(sum(_COST.get(n.head, 1) for n in seen if n.head not in LEAVES and n.dtype.name != "i64"))


_COST = {
    "exp": 12, "log": 18, "tanh": 16, "erf": 18, "sigmoid": 18, "pow": 90, "sin": 22, "cos": 22, "tan": 40, "div": 4,
    "sqrt": 5, "rsqrt": 8, "expm1": 18, "log1p": 26, "asin": 20, "acos": 22, "atan": 22, "mod": 30, "rem": 30,
}  # fmt: skip
"""Vector instructions of the primitives that take more than one."""


def schedules_of(nest: Nest, isa: Isa) -> Iterator[CpuSchedule]:
    """Schedules worth trying, best first."""
    ranked = sorted(_vector_axes(nest), key=lambda a: -_vector_score(nest, a, isa))
    seen: set[CpuSchedule] = set()
    for axis_id in ranked[:2] or [-1]:
        best = _schedule(nest, axis_id, isa)
        for schedule in (
            best,
            replace(best, unroll=2),
            replace(best, unroll=1),
            replace(best, grain=max(1, best.grain // 4)),
        ):
            if schedule not in seen:
                seen.add(schedule)
                yield schedule


def _vector_axes(nest: Nest) -> list[int]:
    return [*nest.parallel, *nest.reduced]


def _vector_score(nest: Nest, axis_id: int, isa: Isa) -> float:
    """Work saved by vectors along this axis: contiguous accesses count, strided ones cost, short axes waste lanes."""
    score = 0.0
    for access in accesses_of(nest):
        weight = (2.0 if access.is_store else 1.0) * (8.0 if access.over_reduced and nest.reduced else 1.0)
        stride = axis_term(access.form, axis_id)
        scattered = any(
            axis_id in {a.payload for a in leaves_of(t, "axis")}
            for t, _ in access.form.terms
            if t.head != "axis"
        )
        if scattered:
            score -= 1.2 * weight
        elif isinstance(stride, int) and stride == 1:
            score += weight
        elif not (isinstance(stride, int) and stride == 0):
            score -= weight
    extent, lanes = likely(nest.extents[axis_id]), isa.lanes
    filled = extent / (-(-extent // lanes) * lanes) if extent else 1.0
    # Folding a vector at the end of every row costs about as much as eight more vectors.
    if axis_id in nest.reduced and any(isinstance(s, Fold) for s in nest.stages):
        vectors = -(-extent // lanes)
        filled *= vectors / (vectors + 2)
    return (score + 0.01) * filled if score > 0 else score - (1 - filled)


def _schedule(nest: Nest, axis_id: int, isa: Isa) -> CpuSchedule:
    lanes = 1 if axis_id < 0 else _lanes(nest, isa)
    order = tuple(sorted((a for a in nest.parallel if a != axis_id), key=lambda a: -_walk(nest, a)))
    reduced = tuple(sorted((a for a in nest.reduced if a != axis_id), key=lambda a: -_walk(nest, a)))
    tile = -1
    if axis_id in nest.parallel:
        order = (*order, axis_id)
        tile = _tile_axis(nest, axis_id, lanes)
        if tile >= 0:
            order = (*(a for a in order if a not in (tile, axis_id)), tile, axis_id)
    elif axis_id >= 0:
        reduced = (*reduced, axis_id)
    extent = likely(nest.extents[axis_id]) if axis_id >= 0 else 1
    work = work_of(nest)
    unroll = 4 if work <= 26 else 2 if work <= 60 else 1
    while unroll > 1 and extent < lanes * unroll:
        unroll //= 2
    blocks = {axis_id: lanes * unroll, tile: lanes}
    cut, grain = _tasks(nest, order[:-1] if tile >= 0 else order, blocks, extent if tile >= 0 else 1)
    return CpuSchedule(order, reduced, axis_id, lanes, unroll, cut, grain, tile)


def _tile_axis(nest: Nest, vector_axis: int, lanes: int) -> int:
    """The parallel axis along which most loads that stride over the vector axis are contiguous; -1: none."""
    if likely(nest.extents[vector_axis]) < lanes:
        return -1
    able = [a for a in nest.parallel if a != vector_axis and likely(nest.extents[a]) >= lanes]
    counted = [(len(tile_loads(nest, a, vector_axis)), a) for a in able]
    # Every position of the tile repeats the body, so long bodies are not worth it.
    count, best = max(counted, default=(0, -1))
    return best if count and work_of(nest) <= 40 else -1


def _walk(nest: Nest, axis_id: int) -> int:
    """How far apart neighbours along the axis lie, in the stores first."""
    steps = [
        abs(likely(axis_term(a.form, axis_id))) if axis_term(a.form, axis_id) != 0 else 0
        for a in accesses_of(nest)
        if a.is_store
    ]
    others = [
        abs(likely(axis_term(a.form, axis_id))) for a in accesses_of(nest) if axis_term(a.form, axis_id) != 0
    ]
    return max(steps, default=0) or max(others, default=0)


def _lanes(nest: Nest, isa: Isa) -> int:
    """One register of the widest values computed; addresses do not count."""
    widest = 8
    for stage in nest.stages:
        stack, seen = [stage.body], set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.dtype.name == "i64" and not leaves_of(node, "load"):
                continue  # positions, compared or cast: few and cheap
            widest = max(widest, BITS[compute_kind(node.dtype)])
            if node.head != "load":
                stack.extend(node.args)
    return max(isa.vector_bits // max(widest, 32), 4)


def _tasks(nest: Nest, order: tuple[int, ...], blocks: dict[int, int], row: int) -> tuple[int, int]:
    """(cut, grain): leading axes until there are tasks enough, then blocks of the last of them.

    `blocks` are the multiples that the grain of an axis must be; `row` elements lie behind each position of `order`.
    """
    sizes = [likely(nest.extents[a]) for a in order]
    reduced = max(1, product([likely(nest.extents[a]) for a in nest.reduced]))
    total = max(1, product(sizes)) * reduced * row
    wanted = max(1, min(total // _TASK_ELEMENTS, 4 * _LEAST_TASKS))
    done = 1
    for cut, size in enumerate(sizes, 1):
        inner = max(1, total // max(1, done * size))
        if done * size >= wanted or cut == len(sizes):
            grain = max(
                1,
                min(
                    max(1, -(-done * size // wanted)),
                    -(-_TASK_ELEMENTS // inner) if inner < _TASK_ELEMENTS else 1,
                ),
            )
            block = blocks.get(order[cut - 1], 1)
            # pyrefly: ignore[bad-return]
            return cut, -(-grain // block) * block
        done *= size
    return 0, 1
