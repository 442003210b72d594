"""GpuSchedule: how a nest runs on a GPU. `loops_choice.py` decides; `loops.py` obeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engineworks.core.dims import Dim, bounds, ceil_div, product


@dataclass(frozen=True, slots=True)
class Dimension:
    """Axes walked as one flat index, outermost first, and how many positions of it a program holds at once.

    Attributes:
        block: a power of two; 1 makes the index a scalar.
    """

    axes: tuple[int, ...]
    block: int = 1

    def extent(self, extents: Mapping[int, Dim]) -> Dim:
        """Positions in all."""
        return product([extents[a] for a in self.axes])

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.axes))}:{self.block}"


@dataclass(frozen=True, slots=True)
class GpuSchedule:
    """A plan for one nest.

    Attributes:
        parallel: dimensions that cover the parallel axes; a program does one block of each. The last varies fastest
            from one program to the next.
        reduced: covers the reduced axes; None where there are none. A block as large as its extent holds whole rows
            in registers, which are then read once; smaller ones are walked in a loop for every stage.
        warps: of a program.
    """

    parallel: tuple[Dimension, ...]
    reduced: Dimension | None
    warps: int = 4

    def programs(self, extents: Mapping[int, Dim]) -> Dim:
        """Size of the grid."""
        return product([ceil_div(d.extent(extents), d.block) for d in self.parallel])

    def holds_rows(self, extents: Mapping[int, Dim]) -> bool:
        """True when one block holds the whole reduced domain, whatever its size."""
        if self.reduced is None:
            return True
        extent, block = self.reduced.extent(extents), self.reduced.block
        if isinstance(extent, int):
            return 0 < extent <= block
        most = bounds(extent)[1]
        return block > 1 and most is not None and most <= block

    def __str__(self) -> str:
        rows = " ".join(map(str, self.parallel))
        return f"[{rows}{f' | {self.reduced}' if self.reduced else ''}] warps={self.warps}"
