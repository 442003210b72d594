"""How long each record of a program takes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from engineworks.runtime.cuda.interface import BoundLaunch, Driver, Graph
from engineworks.runtime.program import RecordTime

if TYPE_CHECKING:
    from engineworks.runtime.cuda.program import CudaProgram

_LEAST, _MOST = 10, 50
"""Launches of one record in a graph."""
_ROUNDS = 3


def profile(program: CudaProgram, repeats: int) -> list[RecordTime]:
    """Times of each record that ran, as of `repeats` inferences.

    One inference is walked record by record; each is timed when it is first met, by a graph of many launches of it
    alone (a single launch between events would mostly show the events), from a warm cache. Activations are put back
    afterwards: a kernel that works in place would find its own results.
    """
    driver = program.driver
    stream = program.begin()
    size = program.places.memory.size_bytes
    kept = driver.allocate(size, "a copy of the activations (profiling)")
    count = min(max(repeats, _LEAST), _MOST)
    durations: dict[int, float] = {}
    visits: Counter[int] = Counter()
    position: int | None = 0
    while position is not None:
        if program.manifest.program[position].op != "call":
            position = program.decide(position, stream)
            continue
        launch = program.stretches.launch_of(position, program.values, overlaps=False)
        if launch is not None:
            if position not in durations:
                driver.copy(kept.address, program.places.memory.address, size, stream)
                durations[position] = _duration_s(program, position, launch, count, stream)
                driver.copy(program.places.memory.address, kept.address, size, stream)
            launch.launch(stream)
            visits[position] += 1
        position += 1
    program.finish(stream)
    return [_time_of(program, k, n * repeats, n * repeats * durations[k]) for k, n in sorted(visits.items())]


def _duration_s(program: CudaProgram, number: int, launch: BoundLaunch, count: int, stream: int) -> float:
    """Seconds of one launch among many of the same, overlapping where the program lets them."""
    driver = program.driver
    following = program.stretches.launch_of(number, program.values, overlaps=True)
    assert following is not None, "its grid is not empty"
    graph = driver.capture([launch, *[following] * (count - 1)])
    return min(_replay_s(driver, graph, stream) for _ in range(_ROUNDS)) / count


def _replay_s(driver: Driver, graph: Graph, stream: int) -> float:
    first, last = driver.new_event(timed=True), driver.new_event(timed=True)
    driver.record(first, stream)
    graph.launch(stream)
    driver.record(last, stream)
    return driver.elapsed_s(first, last)


def _time_of(program: CudaProgram, index: int, visits: int, duration_s: float) -> RecordTime:
    record = program.manifest.program[index]
    kernel = program.manifest.kernels[record.kernel]
    return RecordTime(index, record.name, record.group, kernel.symbol, kernel.tactic, visits, duration_s)
