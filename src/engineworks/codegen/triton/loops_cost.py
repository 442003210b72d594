"""Seconds that a schedule should take: memory traffic by sectors, instructions, and how well the processors are filled.

The constants are those of sm_90; only the order of schedules depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.llvm.loops_nest import Fold, Nest
from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.loops_access import Access, accesses_of, instructions_of
from engineworks.codegen.triton.loops_schedule import Dimension, GpuSchedule
from engineworks.core.dims import Dim, product

LAUNCH_S = 1.5e-6
"""From one kernel's end to the next one's, when they overlap."""
_LATENCY_S = 6e-7
"""From a load's issue to its value, out of level-2 cache or memory."""
_SECTOR = 32
_CACHE_SPEED = 1.7
"""Bytes a second between level-2 cache and processors, in terms of memory's."""
_CLOCK = 1.6e9
_RESIDENT_WARPS = 48
"""Of a processor, with the registers that these kernels use."""

Extents = dict[int, Dim]


@dataclass(frozen=True, slots=True)
class LoopWork:
    """What a nest does, as the model counts it, whatever its schedule.

    Attributes:
        once: the accesses that differ. folds, walks: reductions; stages that walk over the reduced axes.
        instructions: of one position.
    """

    extents: Extents
    accesses: tuple[Access, ...]
    once: tuple[Access, ...]
    folds: int
    walks: int
    instructions: float


def loop_work(nest: Nest) -> LoopWork:
    """The work of a nest."""
    accesses = tuple(accesses_of(nest))
    once = {(a.type, a.form, a.is_store): a for a in accesses}
    folds = sum(isinstance(s, Fold) for s in nest.stages)
    walks = folds + sum(not isinstance(s, Fold) and s.over_reduced for s in nest.stages)
    return LoopWork(
        dict(nest.extents), accesses, tuple(once.values()), folds, max(1, walks), instructions_of(nest)
    )


def predicted_s(work: LoopWork, schedule: GpuSchedule, gpu: Gpu) -> float:
    """Seconds of one launch."""
    extents = work.extents
    programs = max(1, likely(schedule.programs(extents)))
    held = schedule.holds_rows(extents)
    walked = work.once if held else work.accesses
    memory = sum(a.unique_bytes(extents) for a in work.once)
    sectors = sum(_sector_bytes(a, extents, schedule) for a in walked)
    warps = programs * schedule.warps
    transfer = max(memory / gpu.bytes_per_s, sectors / (gpu.bytes_per_s * _CACHE_SPEED))
    transfer /= min(1.0, warps / (gpu.processors * 12))
    operations = _padded(extents, schedule) * _operations(work, schedule, walked)
    arithmetic = operations / (gpu.processors * 128 * _CLOCK) / min(1.0, warps / (gpu.processors * 4))
    waves = -(-programs // (gpu.processors * max(1, min(32, _RESIDENT_WARPS // schedule.warps))))
    return LAUNCH_S + max(transfer, arithmetic) + _program_s(work, schedule, held) * (0.7 + 0.3 * waves)


def _padded(extents: Extents, schedule: GpuSchedule) -> float:
    """Positions that are computed, those beyond the ends included."""
    total = 1.0
    for dimension in _dimensions(schedule):
        extent = max(1, likely(dimension.extent(extents)))
        total *= -(-extent // dimension.block) * dimension.block
    return total


def _dimensions(schedule: GpuSchedule) -> list[Dimension]:
    return [*schedule.parallel, *([schedule.reduced] if schedule.reduced else [])]


def _operations(work: LoopWork, schedule: GpuSchedule, walked: Sequence[Access]) -> float:
    """Instructions of one position: arithmetic, and accesses, which move up to 16 bytes each."""
    a_thread = _elements(schedule) / (32 * schedule.warps)
    total = work.instructions
    for access in walked:
        run = min(_longest_run(access, schedule, work.extents), max(1.0, a_thread))
        a_row = 1.0 if access.over_reduced or schedule.reduced is None else 1.0 / schedule.reduced.block
        total += 5.0 * a_row / min(run, 16 / access.element_bytes)
    return total


def _longest_run(access: Access, schedule: GpuSchedule, extents: Extents) -> float:
    return max(_run(access, d, extents, 1)[0] for d in _dimensions(schedule)) if access.axes else 1.0


def _sector_bytes(access: Access, extents: Extents, schedule: GpuSchedule) -> float:
    """Bytes that pass between level-2 cache and processors for one access, in whole sectors."""
    positions, stride = 1.0, 64.0
    moved = [d for d in _dimensions(schedule) if d is not schedule.reduced or access.over_reduced]
    for dimension in moved:
        extent = max(1, likely(dimension.extent(extents)))
        blocks = -(-extent // dimension.block)
        moving = max(1, likely(product([extents[a] for a in dimension.axes if a in access.axes])))
        positions *= min(extent, blocks * min(dimension.block, moving))
        stride = min(stride, _run(access, dimension, extents, 1)[1])
    run = _neighbours(access, moved, extents)
    size = access.element_bytes
    if run > 1:
        return positions / run * (-(-run * size // _SECTOR) * _SECTOR)
    return positions * min(_SECTOR, stride * size)


def _neighbours(access: Access, dimensions: Sequence[Dimension], extents: Extents) -> float:
    """Elements side by side in a block of all dimensions together."""
    run = 1.0
    waiting = list(dimensions)
    while True:
        longer = [(d, length) for d in waiting if (length := _run(access, d, extents, run)[0]) > 1]
        if not longer:
            return run
        dimension, length = longer[0]
        run *= length
        waiting.remove(dimension)


def _run(access: Access, dimension: Dimension, extents: Extents, reach: float) -> tuple[float, float]:
    """(elements side by side in a block of the dimension when neighbours lie `reach` apart, else 1; their stride)."""
    inner = next((a for a in reversed(dimension.axes) if a in access.axes), None)
    if inner is None or dimension.block == 1:
        return 1.0, 64.0
    stride = abs(likely(access.stride(inner))) or 64
    if stride != reach:
        return 1.0, float(stride)
    length = 1.0
    for axis_id in reversed(dimension.axes):
        if axis_id not in access.axes:
            continue
        if likely(access.stride(axis_id)) != length * reach:
            break
        length *= max(1, likely(extents[axis_id]))
    return max(1.0, min(length, dimension.block)), float(stride)


def _program_s(work: LoopWork, schedule: GpuSchedule, held: bool) -> float:
    """Of one program from start to end: latencies that nothing hides."""
    across = 0.0
    if schedule.reduced and schedule.reduced.block > 1:
        barriers = 4e-8 + 1.2e-8 * schedule.warps if schedule.warps > 1 else 0.0
        across = work.folds * (
            6e-8 + barriers + 4e-8 * math.log2(max(2, _elements(schedule) // schedule.reduced.block))
        )
    a_thread = _elements(schedule) / (32 * schedule.warps)
    busy = a_thread * work.instructions * max(1, schedule.warps / 4) / _CLOCK
    crowded = 2e-7 * max(0.0, math.log2(max(a_thread, 1) / 16))
    if held or schedule.reduced is None:
        return _LATENCY_S + across + busy + crowded
    pieces = -(-likely(schedule.reduced.extent(work.extents)) // schedule.reduced.block)
    in_flight = 16 if schedule.reduced.block == 1 and pieces <= 32 else 1.5
    return across + _LATENCY_S + pieces * (work.walks * _LATENCY_S / in_flight + busy) + crowded


def _elements(schedule: GpuSchedule) -> int:
    return math.prod(d.block for d in _dimensions(schedule))
