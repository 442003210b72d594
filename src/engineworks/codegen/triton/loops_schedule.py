"""GpuSchedule: how a nest runs on a GPU. `loops_choice.py` decides; `loops.py` obeys."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.core.dims import Dim, ceil_div, product


@dataclass(frozen=True, slots=True)
class Dimension:
    """Axes walked as one flat index, outermost first, and how many positions of it a program holds at once.

    Attributes:
        block: a power of two; 1 makes the index a scalar.
    """

    axes: tuple[int, ...]
    block: int = 1

    def extent(self, extents: dict[int, Dim]) -> Dim:
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

    def programs(self, extents: dict[int, Dim]) -> Dim:
        """Size of the grid."""
        return product([ceil_div(d.extent(extents), d.block) for d in self.parallel])

    def __str__(self) -> str:
        rows = " ".join(map(str, self.parallel))
        return f"[{rows}{f' | {self.reduced}' if self.reduced else ''}] warps={self.warps}"
