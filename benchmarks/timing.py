"""Timing of several ways to compute the same thing, so that a noisy machine is fair to all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Call = Callable[[], object]

PAUSE_S = 0.005
"""Between two competitors: worker threads of the one before stop spinning within a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per call, one sample for each timed call."""

    samples_s: tuple[float, ...]

    @property
    def minimum_s(self) -> float:
        return min(self.samples_s)

    @property
    def median_s(self) -> float:
        return statistics.median(self.samples_s)


def interleaved(calls: Mapping[str, Call], rounds: int = 10, slice_s: float = 0.05) -> dict[str, Timing]:
    """Time all calls in rounds, each round in another order.

    Args:
        rounds: at least 1. What disturbs the machine for a while then disturbs all alike.
        slice_s: seconds each call gets in a round, at least one timed call after one that is not timed.
    Returns:
        timings in the order of `calls`. Compare them with each other only: figures of two runs differ.
    """
    counts = {name: _calls_in(call, slice_s) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            time.sleep(PAUSE_S)
            calls[name]()
            samples[name] += [_timed(calls[name]) for _ in range(counts[name])]
        order = order[1:] + order[:1]
    return {name: Timing(tuple(samples[name])) for name in calls}


def _timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _calls_in(call: Call, slice_s: float) -> int:
    """How many calls fit in the slice; the first call, which warms up, is not counted."""
    call()
    return max(1, min(1000, int(slice_s / max(_timed(call), 1e-7))))
