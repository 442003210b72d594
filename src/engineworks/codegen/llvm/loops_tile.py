"""Square tiles transposed in registers: for loads that are contiguous along another axis than the stores."""

from __future__ import annotations

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.loops_index import axis_term, linear_of
from engineworks.codegen.llvm.loops_nest import Fold, Nest
from engineworks.codegen.llvm.loops_scope import Emission, Lanes
from engineworks.codegen.llvm.vector import Vector
from engineworks.ir.scalar import Scalar, axis, leaves_of


def tile_loads(nest: Nest, tile_axis: int, vector_axis: int) -> list[Scalar]:
    """Loads that are contiguous along the tile axis and strided along the vector axis, and always performed."""
    if any(
        isinstance(s, Fold) or s.over_reduced or axis_term(linear_of(s.offset), vector_axis) != 1
        for s in nest.stages
    ):
        return []
    found: dict[Scalar, None] = {}
    for stage in nest.stages:
        for load in leaves_of(stage.body, "load"):
            form = linear_of(load.args[0])
            stride = axis_term(form, vector_axis)
            still = all(
                atom.head == "axis"
                or not {tile_axis, vector_axis} & {a.payload for a in leaves_of(atom, "axis")}
                for atom, _ in form.terms
            )
            strided = not (isinstance(stride, int) and stride in (0, 1))
            if (
                len(load.args) == 1
                and still
                and strided
                and axis_term(form, tile_axis) == 1
                and load.payload >= 0
            ):
                found[load] = None
    return list(found)


def load_tile(emission: Emission, group: Lanes, load: Scalar) -> list[Vector]:
    """The load's values (compute form) on the group's lanes, for each of the next positions of the tile axis."""
    form = linear_of(load.args[0])
    stride = emission.size(form.coefficient(axis(emission.vector_axis)))
    place = group.place(load.payload, load.args[0])
    memory, f = emission.memory, emission.f
    rows = []
    for lane in range(group.lanes):
        pointer = memory.at(load.payload, place.pointer, f.mul(lane, stride))
        rows.append(memory.raw(pointer, load.dtype, group.lanes))
    return [casts.decode(load.dtype, memory.from_raw(row, load.dtype)) for row in transposed(rows)]


def transposed(rows: list[Vector]) -> list[Vector]:
    """The columns of a square of vectors: log2(n) rounds of exchanges between rows that differ in one bit."""
    rows = list(rows)
    count = len(rows)
    bit = 1
    while bit < count:
        for i in range(count):
            if not i & bit:
                j = i | bit
                low = [lane if not lane & bit else count + (lane ^ bit) for lane in range(count)]
                high = [lane ^ bit if not lane & bit else count + lane for lane in range(count)]
                rows[i], rows[j] = _shuffle(rows[i], rows[j], low), _shuffle(rows[i], rows[j], high)
        bit *= 2
    return rows


def _shuffle(a: Vector, b: Vector, picks: list[int]) -> Vector:
    lanes = ", ".join(f"i32 {p}" for p in picks)
    return a.of(
        a.f.value(f"shufflevector {a.type} {a.name}, {b.type} {b.name}, <{len(picks)} x i32> <{lanes}>")
    )
