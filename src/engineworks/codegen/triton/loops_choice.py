"""Which schedules a nest gets on a GPU: by how its operands lie in memory, ranked by the cost model."""

from __future__ import annotations

from collections.abc import Iterator

from engineworks.codegen.llvm.loops_nest import Nest
from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.loops import UNROLLED
from engineworks.codegen.triton.loops_access import Access, accesses_of, memory_order, run_through
from engineworks.codegen.triton.loops_cost import loop_work, predicted_s
from engineworks.codegen.triton.loops_schedule import Dimension, GpuSchedule
from engineworks.core.dims import bounds, product

_REGISTER_ELEMENTS = 64
"""Elements of one block a thread may hold without spilling, with a few values for each of them."""


def schedules_of(nest: Nest, gpu: Gpu) -> list[tuple[float, GpuSchedule]]:
    """(predicted seconds, schedule) of those worth trying, best first."""
    found = dict.fromkeys(_pointwise(nest) if not nest.reduced else _reductions(nest))
    work = loop_work(nest)
    ranked = [(predicted_s(work, schedule, gpu), place, schedule) for place, schedule in enumerate(found)]
    return [(seconds, schedule) for seconds, _, schedule in sorted(ranked)]


def power_of_two(count: int) -> int:
    """The least power of two that is not below."""
    return 1 << max(0, count - 1).bit_length()


def _size(nest: Nest, axes: tuple[int, ...]) -> int:
    return max(1, likely(product([nest.extents[a] for a in axes])))


def _most(nest: Nest, axes: tuple[int, ...]) -> int:
    """The largest size where rows of it can be held in registers, else the likely one."""
    most = bounds(product([nest.extents[a] for a in axes]))[1]
    return most if most is not None and most <= 1 << 14 else _size(nest, axes)


def _warps(elements: int, most: int = 8) -> list[int]:
    """Numbers of warps that give each thread 4 to 32 elements of a block."""
    return [w for w in (1, 2, 4, 8, 16) if w <= most and 4 <= elements / (32 * w) <= 32] or [
        1 if elements < 512 else most
    ]


# -- without reduced axes -------------------------------------------------------------------------------------
def _pointwise(nest: Nest) -> Iterator[GpuSchedule]:
    accesses = accesses_of(nest)
    order = memory_order(nest, nest.parallel, [a for a in accesses if a.is_store])
    count = _size(nest, order)
    yield from _tiles(nest, accesses, order)
    for block in (1024, 512, 256, 2048, 4096):
        if block <= power_of_two(count) or block == 256:
            for warps in _warps(block):
                yield GpuSchedule((Dimension(order, min(block, power_of_two(count))),), None, warps)
    if len(order) > 1:
        yield from _rows_and_columns(nest, accesses, order)


def _tiles(nest: Nest, accesses: list[Access], order: tuple[int, ...]) -> Iterator[GpuSchedule]:
    """Two-dimensional blocks, where an operand's neighbours in memory are not the result's: both sides coalesce."""
    extents = dict(nest.extents)
    (store, *_) = sorted((a for a in accesses if a.is_store), key=lambda a: -a.unique_bytes(extents))
    inner = store.unit_axis(extents)
    most = max(a.unique_bytes(extents) for a in accesses)
    if inner < 0:
        return
    for other in accesses:
        across = other.unit_axis(extents)
        if (
            other is store
            or across in (-1, inner)
            or inner not in other.axes
            or other.unique_bytes(extents) < most / 8
        ):
            continue
        columns = run_through(store, inner, [a for a in nest.parallel if a != across], extents)
        rows = run_through(other, across, [a for a in nest.parallel if a not in columns], extents)
        rest = tuple(a for a in order if a not in columns and a not in rows)
        wide = 32 if store.element_bytes >= 4 else 64
        for sides in ((wide, wide), (wide, wide // 2), (wide // 2, wide), (wide * 2, wide), (32, 32)):
            first, second = _clipped(_size(nest, rows), _size(nest, columns), *sides)
            outer = (Dimension(rest),) if rest else ()
            tile = (*outer, Dimension(rows, first), Dimension(columns, second))
            for warps in _warps(first * second):
                yield GpuSchedule(tile, None, warps)


def _clipped(rows: int, columns: int, first: int, second: int) -> tuple[int, int]:
    """A tile of about as many elements where one of the sides is short."""
    total = first * second
    first, second = min(first, power_of_two(rows)), min(second, power_of_two(columns))
    if first < total // second:
        second = min(power_of_two(columns), total // first)
    if second < total // first:
        first = min(power_of_two(rows), total // second)
    return first, second


def _rows_and_columns(nest: Nest, accesses: list[Access], order: tuple[int, ...]) -> Iterator[GpuSchedule]:
    """The nearest axis apart: what does not vary along it is computed once a row."""
    rows, inner = order[:-1], order[-1:]
    columns = power_of_two(_size(nest, inner))
    for width in {min(columns, 1024), min(columns, 256)}:
        for elements in (1024, 2048):
            height = min(max(1, elements // width), power_of_two(_size(nest, rows)))
            for warps in _warps(width * height)[-2:]:
                yield GpuSchedule((Dimension(rows, height), Dimension(inner, width)), None, warps)


# -- reductions -----------------------------------------------------------------------------------------------
def _reductions(nest: Nest) -> Iterator[GpuSchedule]:
    extents = dict(nest.extents)
    accesses = accesses_of(nest)
    order = memory_order(nest, nest.parallel, [a for a in accesses if a.is_store] or accesses)
    reduced = memory_order(nest, nest.reduced, [a for a in accesses if a.over_reduced])
    loads = [a for a in accesses if a.over_reduced and not a.is_store]
    main = max(loads, key=lambda a: a.unique_bytes(extents) * (len(a.axes) > 0), default=None)
    inner = main.unit_axis(extents) if main else -1
    if main is not None and inner in nest.parallel:
        yield from _columns(nest, main, inner, order, reduced)
    if _size(nest, reduced) <= UNROLLED:
        yield from _windows(nest, order, reduced)
    yield from _rows(nest, order, reduced)


def _windows(nest: Nest, order: tuple[int, ...], reduced: tuple[int, ...]) -> Iterator[GpuSchedule]:
    """Rows side by side, one after the other along short reduced axes: pooling."""
    count = power_of_two(_size(nest, order))
    for block in (512, 1024, 256, 128):
        for warps in _warps(min(block, count)):
            yield GpuSchedule((Dimension(order, min(block, count)),), Dimension(reduced, 1), warps)


def _columns(
    nest: Nest, main: Access, inner: int, order: tuple[int, ...], reduced: tuple[int, ...]
) -> Iterator[GpuSchedule]:
    """Blocks of neighbours along a parallel axis times some reduced positions."""
    columns = run_through(main, inner, nest.parallel, dict(nest.extents))
    rest = tuple(a for a in order if a not in columns)
    outer = (Dimension(rest),) if rest else ()
    width, depth = power_of_two(_size(nest, columns)), power_of_two(_size(nest, reduced))
    for across in (64, 32, 16, 128, 256, 512):
        for elements in (4096, 2048, 8192, 1024):
            block = min(width, across)
            along = min(depth, max(1, elements // block))
            for warps in _warps(block * along)[-2:]:
                yield GpuSchedule((*outer, Dimension(columns, block)), Dimension(reduced, along), warps)


def _rows(nest: Nest, order: tuple[int, ...], reduced: tuple[int, ...]) -> Iterator[GpuSchedule]:
    """Whole rows in registers where they fit, else long pieces of them."""
    depth = power_of_two(_most(nest, reduced))
    rows = power_of_two(_size(nest, order))
    for warps in (4, 8, 2, 1, 16):
        room = _REGISTER_ELEMENTS * 32 * warps
        if depth <= room // 2:
            for height in (1, 2, 4, 8, 16, 32, 64):
                elements = depth * height
                if height <= rows and 2 * 32 * warps <= max(elements, 64) <= room // 2:
                    yield GpuSchedule((Dimension(order, height),), Dimension(reduced, depth), warps)
        for piece in (8, 16, 32):
            block = piece * 32 * warps
            # 16 warps have 128 registers a thread: 32 elements of each and what is made of them spill.
            if warps >= 4 and block < depth and block <= 1 << 13:
                yield GpuSchedule((Dimension(order, 1),), Dimension(reduced, block), warps)
