"""calibrate: runs a model on example inputs and chooses a range for every activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from engineworks.calibration.batches import Batch, Data, FittingBatches, length_of, needs_of, samples_of
from engineworks.calibration.energy import with_energy
from engineworks.calibration.histogram import Histogram
from engineworks.calibration.methods import Entropy, FirstEntropy, Method, method_named
from engineworks.calibration.observe import Measuring, Observed, measuring
from engineworks.calibration.ranges import LEVELS, Ranges
from engineworks.errors import CalibrationError, InvalidInput
from engineworks.ir.graph import Graph

MAX_CLIPPED = 0.01
"""The share of a tensor's elements beyond its range from which the build warns, unless it says otherwise."""
Progress = Callable[[int, int, str], None]


class Runs(Protocol):
    """An engine, as far as calibration needs it."""

    def run(self, /, **arrays: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was seen of one tensor, and what was chosen.

    Attributes:
        low, high: the smallest and largest value.
        range: the largest magnitude kept; 0 when the tensor has none and stays in floating point.
        clipped: share of the elements beyond the range, 0 to 1, to the nearest bin edge.
        elements: seen.
        problem: why there is no range; empty when there is one.
    """

    low: float
    high: float
    range: float
    clipped: float
    elements: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The result of a calibration.

    Attributes:
        ranges: for the build, and for the cache file.
        statistics: by tensor name, in the order of computation.
        batches, samples: how many were run; samples are counted along the first axis of the first input.
        warnings: sentences for the user, about the tensors that products read: those become int8.
    """

    ranges: Ranges
    statistics: Mapping[str, Statistics]
    batches: int
    samples: int
    warnings: tuple[str, ...]


def calibrate(
    graph: Graph,
    data: Data,
    *,
    compile: Callable[[Graph], Runs],
    method: str | Method = "entropy",
    max_clipped: float = MAX_CLIPPED,
    progress: Progress | None = None,
) -> Calibration:
    """Ranges of every floating-point activation of a graph, in memory that does not grow with the data.

    Args:
        graph: fp32, as the ranges will be used on it; it stays as it is, but nameless values get names.
        data: see `FittingBatches`.
        compile: builds and loads an engine from a graph, which it may change.
        method: 'entropy', 'entropy_v1', 'minmax', 'percentile', 'legacy', or a Method with parameters.
        max_clipped: the share of its elements (0 to 1) from which a warning names a tensor that a product reads.
        progress: called after each batch with (samples done, samples in all as far as is known, what).
    Raises:
        CalibrationError: no data, or data that the model does not take; the sentence says which batch.
        BuildError: the measuring engine cannot be built.
    """
    chosen = method_named(method) if isinstance(method, str) else method
    plan = measuring(graph)
    engine = compile(plan.graph)
    session = _Session(plan, engine)
    total = length_of(data)
    batches = FittingBatches(data, needs_of(graph))
    for batch in batches:
        session.run(batch)
        if progress is not None:
            expected = batches.samples if total is None else round(batches.samples / batches.items * total)
            progress(session.samples, expected, f"batch {session.batches}")
    if not session.batches:
        raise CalibrationError(
            "there is no calibration data: not one whole batch. Give the model some dozens of typical inputs "
            "(a generator that was read before is empty now)."
        )
    left_out = (
        f"{batches.left_out} samples filled no whole batch of the size that the model takes, and were left out",
    )
    return session.result(chosen, max_clipped, left_out if batches.left_out else ())


class _Session:
    """Histograms under way."""

    def __init__(self, plan: Measuring, engine: Runs) -> None:
        self.plan, self.engine = plan, engine
        self.batches = self.samples = 0
        self.histograms = {each.name: Histogram() for each in plan.observed}

    def run(self, batch: Batch) -> None:
        """One batch through the engine and into the histograms."""
        limits = {
            each.limit: np.float32(self.histograms[each.name].limit).reshape(())
            for each in self.plan.observed
        }
        try:
            outputs = self.engine.run(**batch, **limits)
        except InvalidInput as error:
            raise CalibrationError(f"calibration batch {self.batches + 1} does not fit: {error}") from error
        for each in self.plan.observed:
            _add(self.histograms[each.name], each, outputs)
        self.batches += 1
        self.samples += samples_of(batch)

    def result(self, method: Method, max_clipped: float, warnings: tuple[str, ...]) -> Calibration:
        """Ranges from what was collected, with these warnings before those of the tensors."""
        measured = {name: _statistics(h, method) for name, h in self.histograms.items()}
        every = measured | {name: measured[source] for name, source in self.plan.same_as.items()}
        scales = {name: s.range / LEVELS for name, s in every.items()}
        operands = {name: s for name, s in measured.items() if name in self.plan.operands}
        warnings += tuple(_warnings(operands, max_clipped))
        return Calibration(Ranges(scales, method.algorithm), every, self.batches, self.samples, warnings)


def _add(histogram: Histogram, each: Observed, outputs: Mapping[str, np.ndarray]) -> None:
    low, high, limit = (float(number) for number in outputs[each.seen])
    histogram.add(outputs[each.counts], limit, low, high)


def _statistics(histogram: Histogram, method: Method) -> Statistics:
    problem = ""
    if not histogram.total:
        return Statistics(0.0, 0.0, 0.0, 0.0, 0, "no batch reached it")
    if not histogram.is_finite:
        problem = "it takes values that are NaN or infinite"
    elif histogram.largest == 0:
        problem = "it was zero in every batch"
    if problem:
        return Statistics(histogram.low, histogram.high, 0.0, 0.0, histogram.total, problem)
    kept = method.range_of(histogram)
    if isinstance(method, Entropy | FirstEntropy) and method.keeps:
        kept, problem = with_energy(histogram, kept)
    clipped = histogram.share_above(kept) if kept else 0.0
    return Statistics(histogram.low, histogram.high, kept, clipped, histogram.total, problem)


def _warnings(statistics: Mapping[str, Statistics], max_clipped: float) -> Iterator[str]:
    for name, seen in statistics.items():
        if seen.problem:
            yield f"'{name}' has no range and stays in floating point: {seen.problem}"
    clipped = {n: s for n, s in statistics.items() if s.clipped > max_clipped}
    for name, seen in sorted(clipped.items(), key=lambda item: -item[1].clipped):
        yield (
            f"'{name}': the range ±{seen.range:.4g} clips {seen.clipped:.2%} of the values, which lie in "
            f"{seen.low:.4g} … {seen.high:.4g} (more than max_clipped = {max_clipped:.2%})"
        )
