"""Predicted times: a roofline per thread, from arithmetic and the bytes that must come from memory.

The figures describe a server core of recent years (about 3 GHz, two 512-bit multiply-add units, tens of GB/s from the
last cache). Only ratios matter: predictions rank candidates and stand in for a measurement at effort 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.core.dims import Dim, bounds


@dataclass(frozen=True, slots=True)
class CoreModel:
    """One core.

    Attributes:
        clock_hz: cycles a second.
        multiplies_per_cycle: vector multiply-adds.
        loads_per_cycle: vector loads.
        latency_cycles: from a multiply-add to the one that needs its result.
        near_bytes: of the second cache, as far as data stays in it; near_bytes_per_s: reading it.
        far_bytes_per_s: from beyond it.
        launch_s: one step: its record and its barrier.
    """

    clock_hz: float = 2.8e9
    multiplies_per_cycle: float = 2.0
    loads_per_cycle: float = 2.0
    latency_cycles: float = 4.0
    near_bytes: int = 5 << 18
    near_bytes_per_s: float = 80e9
    far_bytes_per_s: float = 25e9
    launch_s: float = 0.4e-6


CORE = CoreModel()


def typical(dim: Dim, at_most: int = 256) -> int:
    """A value to plan for: the dim itself, or its bound where that is small, else `at_most`."""
    if isinstance(dim, int):
        return dim
    low, high = bounds(dim)
    return max(low or 1, min(high or at_most, at_most))


def tile_cycles(rows: int, vectors: int, chains: int = 1, core: CoreModel = CORE) -> float:
    """Cycles of one k step of a register tile: multiplies, loads, or waiting for its own sums."""
    products = rows * vectors
    waiting = core.latency_cycles / chains
    return max(products / core.multiplies_per_cycle, (rows + vectors) / core.loads_per_cycle, waiting)


def bytes_s(count: float, core: CoreModel = CORE) -> float:
    """Seconds to stream `count` bytes once: near when they fit the second cache, else from beyond it."""
    return count / (core.near_bytes_per_s if count <= core.near_bytes else core.far_bytes_per_s)


def overlapped_s(compute_s: float, traffic_bytes: float, *, hidden: bool, core: CoreModel = CORE) -> float:
    """Seconds of arithmetic that waits for data from beyond the second cache; prefetching hides most of the waiting."""
    transfer_s = traffic_bytes / core.far_bytes_per_s
    return max(compute_s, transfer_s) + (0.3 if hidden else 0.7) * min(compute_s, transfer_s)
