"""Which schedules a nest gets on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from engineworks.codegen.llvm.loops_nest import Nest
from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.loops_schedule import Dimension, GpuSchedule
from engineworks.core.dims import product


def schedules_of(nest: Nest) -> Iterator[GpuSchedule]:
    """Schedules worth trying, best first."""
    rows = likely(product([nest.extents[a] for a in nest.parallel]))
    if not nest.reduced:
        yield GpuSchedule((Dimension(nest.parallel, min(1024, power_of_two(rows))),), None)
        return
    count = likely(product([nest.extents[a] for a in nest.reduced]))
    block = min(power_of_two(count), 4096)
    held = min(1024 // block, power_of_two(rows)) if block < 1024 else 1
    yield GpuSchedule((Dimension(nest.parallel, held),), Dimension(nest.reduced, block))
    yield GpuSchedule((Dimension(nest.parallel, held),), Dimension(nest.reduced, max(1, block // 4)))
    yield GpuSchedule((Dimension(nest.parallel, min(256, power_of_two(rows))),), Dimension(nest.reduced, 1))


def power_of_two(count: int) -> int:
    """The least power of two that is not below."""
    return 1 << max(0, count - 1).bit_length()
