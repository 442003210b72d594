"""A convolution that is to be emitted."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.kernels.cpu.conv import Geometry
from engineworks.kernels.cpu.conv_epilogue import Finish
from engineworks.kernels.tactic import Word
from engineworks.kernels.workload import Workload


@dataclass(frozen=True, slots=True)
class ConvProblem:
    """What is computed, where its operands lie, and what happens to the sums.

    Attributes:
        work: the workload it belongs to.
        g: windows over `source`.
        end: behind the sums.
        source, filters: addresses of x and of the packed filters.
    """

    work: Workload
    g: Geometry
    end: Finish
    source: Word
    filters: Word
