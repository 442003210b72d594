"""Timing work on a GPU with its own events, competitors in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

Call = Callable[[], object]
FLUSHED_BYTES = 256 << 20
"""Written between two calls, so that each finds the level-2 cache as after other work."""
WARM_S = 0.15
BURST_S = 0.02


@dataclass(slots=True)
class Timing:
    """Seconds of one call.

    Attributes:
        alone_s: samples of single calls after the level-2 cache was flushed, as `triton.testing.do_bench` does it.
        steady_s: samples of the mean of calls in a row.
    """

    alone_s: list[float] = field(default_factory=list)
    steady_s: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        return statistics.median(self.alone_s)

    @property
    def spread(self) -> float:
        """Half of the samples lie within this share of the median."""
        low, _, high = statistics.quantiles(self.alone_s, n=4)
        return (high - low) / self.median_s


def interleaved(calls: Mapping[str, Call], rounds: int = 12, calls_a_round: int = 5) -> dict[str, Timing]:
    """Time all calls in rounds, each round in another order. The calls enqueue work in torch's current stream."""
    flushed = torch.empty(FLUSHED_BYTES // 4, dtype=torch.int32, device="cuda")
    timings = {name: Timing() for name in calls}
    counts = {name: _calls_in_burst(call) for name, call in calls.items()}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            timings[name].alone_s += _alone(calls[name], calls_a_round, flushed)
            timings[name].steady_s.append(_in_a_row(calls[name], counts[name]))
        order = order[1:] + order[:1]
    return timings


def _calls_in_burst(call: Call) -> int:
    """How many calls take `BURST_S`; runs it until the GPU has reached its clock."""
    call()
    torch.cuda.synchronize()
    until, count, started = time.perf_counter() + WARM_S, 0, time.perf_counter()
    while time.perf_counter() < until:
        call()
        torch.cuda.synchronize()
        count += 1
    return max(2, round(count * BURST_S / (time.perf_counter() - started)))


def _alone(call: Call, count: int, flushed: torch.Tensor) -> list[float]:
    marks = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)
    ]
    for first, last in marks:
        flushed.zero_()
        first.record()
        call()
        last.record()
    torch.cuda.synchronize()
    return [1e-3 * first.elapsed_time(last) for first, last in marks]


def _in_a_row(call: Call, count: int) -> float:
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    call()
    first.record()
    for _ in range(count):
        call()
    last.record()
    torch.cuda.synchronize()
    return 1e-3 * first.elapsed_time(last) / count
