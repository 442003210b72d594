"""CpuSchedule: how a nest runs on a CPU. `llvm/loops_choice.py` decides; `emit_loops` obeys."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.core.dims import Dim, bounds, ceil_div, product


@dataclass(frozen=True, slots=True)
class CpuSchedule:
    """A plan for one nest; its text is part of the kernel's symbol.

    Attributes:
        order: the parallel axes, outermost loop first.
        reduced: the reduced axes, outermost loop first.
        vector: the axis whose neighbours fill a vector; it is the last of `order` or of `reduced`; -1 where the nest
            has no axes.
        lanes: elements of one vector.
        unroll: vectors (and accumulators) in flight.
        cut: how many leading axes of `order` the task number stands for.
        grain: positions of the last of these axes that one task does.
        tile: the axis before the last of `order`, when squares of it and the vector axis are transposed in registers;
            -1 otherwise.
    """

    order: tuple[int, ...]
    reduced: tuple[int, ...]
    vector: int
    lanes: int
    unroll: int
    cut: int
    grain: int
    tile: int = -1

    def tasks(self, extents: dict[int, Dim]) -> Dim:
        """Size of the task space."""
        if not self.cut:
            return 1
        return product([extents[a] for a in self.order[: self.cut - 1]]) * ceil_div(
            extents[self.order[self.cut - 1]], self.grain
        )


def likely(dim: Dim) -> int:
    """A number to plan with where the size is not known: the geometric middle of its range."""
    if isinstance(dim, int):
        return dim
    low, high = bounds(dim)
    low = max(1, low or 1)
    # A stride may be negative for all sizes.
    return int((low * max(low, high)) ** 0.5) if high is not None else max(low, 256)
