"""The measuring process: `python -m engineworks.tuner.worker`, driven by pickled messages over its pipes.

A kernel that crashes takes this process down, not the build: the parent knows which candidate was being tried.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dtypes import by_name
from engineworks.core.expression import evaluate
from engineworks.kernels.backend import Backend, find
from engineworks.kernels.reference.numpy import compute
from engineworks.kernels.workload import Workload
from engineworks.runtime.engine import Engine
from engineworks.tuner.closeness import rounds_inside, worst_error
from engineworks.tuner.data import draw
from engineworks.tuner.messages import Job, Results, Setup, WholeJob, receive, send
from engineworks.tuner.trial import TrialData, bound_type, strided_view, to_memory, trial_bytes

ROUNDS = 7
BURST_S = 0.002
COLD_BYTES = 24 << 20
MAX_COPIES = 6
SMALL_BYTES = 1 << 15
"""Weights below this stay in the near caches anyway."""
GIVE_UP = 3.0
"""A candidate this many times slower than the best after the first round is not timed again."""


def main() -> None:
    """Serve jobs until the parent closes the pipe."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints goes to stderr, not into the messages
    requests = sys.stdin.buffer
    setup: Setup = receive(requests)
    backend = find(setup.target.device)
    cache = backend.cache(Path(setup.objects) if setup.objects else None)
    measure: Measure | None = None
    while True:
        try:
            job: Job | WholeJob = receive(requests)
        except EOFError:
            return

        def trying(number: int) -> None:
            send(replies, ("trying", number))

        if isinstance(job, WholeJob):
            results = _measure_whole(job, trying)
        elif job.compile_only:
            results = _compile(job, setup, backend, cache, trying)
        else:
            measure = measure or _measure_of(setup)
            results = measure(job, setup, backend, cache, trying)
        send(replies, ("done", results))


Measure = Callable[[Job, Setup, Backend, Any, Callable[[int], None]], Results]


def _measure_of(setup: Setup) -> Measure:
    """How candidates for the target are tried; a GPU is opened by the first that needs it."""
    if setup.target.device != "cuda":
        return _measure
    from engineworks.runtime.cuda.driver import default_index, driver_of
    from engineworks.tuner.gpu_trials import GpuBench

    assert isinstance(setup.isa, Gpu)
    return GpuBench(driver_of(default_index()), setup.isa.l2_bytes).measure


def _compile(job: Job, setup: Setup, backend: Backend, cache: Any, trying: Callable[[int], None]) -> Results:
    for number, (provider, tactic) in enumerate(job.tactics):
        trying(number)
        with contextlib.suppress(Exception):  # `_measure` meets it again, and says what it was
            image = backend.provider(provider).build(job.work, tactic, setup.isa)
            backend.prepare(image.functions, image.declarations, setup.isa, cache)
    return {}


def _measure(job: Job, setup: Setup, backend: Backend, cache: Any, trying: Callable[[int], None]) -> Results:
    data = draw(job.work, job.dims)
    expected = compute(job.work, data.arrays, data.dims)
    results: Results = {}
    runs: dict[int, Callable[[], None]] = {}
    for number, (provider, tactic) in enumerate(job.tactics):
        trying(number)
        try:
            image = backend.provider(provider).build(job.work, tactic, setup.isa)
            file = trial_bytes(job.work, image, data, setup, cache)
        except Exception as error:  # the other candidates can still be measured
            results[number] = f"it cannot be built: {type(error).__name__}: {str(error)[:300]}"
            continue
        trial = _Trial(job.work, data, file, setup.threads)
        wrong = trial.check(expected)
        if wrong:
            results[number] = wrong
        else:
            runs[number] = trial.run
    results.update(_time(runs, trying))
    return results


def _measure_whole(job: WholeJob, trying: Callable[[int], None]) -> Results:
    """Seconds of one inference by number of threads, on seeded inputs of typical shape."""
    engine = Engine.open(job.file)
    values = {symbol.name: symbol.opt for symbol in engine.manifest.symbols}
    rng = np.random.default_rng(0)
    given = {}
    for tensor in engine.inputs:
        shape = tuple(evaluate(d, values) for d in tensor.dims)
        dtype = by_name(tensor.dtype)
        # Integers are zero: they may be positions.
        draw_floats = dtype.is_float
        given[tensor.name] = (rng.uniform(-1, 1, shape) if draw_floats else np.zeros(shape)).astype(
            dtype.numpy
        )
    runs = {}
    for number in job.threads:
        context = engine.context(threads=number)
        context.run(**given)
        runs[number] = lambda c=context: c.run(**given)
    # pyrefly: ignore[bad-argument-type]
    return _time(runs, trying)


class _Trial:
    """A loaded candidate with its inputs and outputs bound.

    In a network the filters of a layer have left the near caches when their turn comes again, while its input has just
    been written. So the candidate is loaded several times over, and each run uses the next copy of the weights.
    """

    def __init__(self, work: Workload, data: TrialData, file: bytes, threads: int) -> None:
        self.types = [bound_type(t, data.dims) for t in work.outputs]
        self.rounds_inside = rounds_inside(work)
        given = {
            f"i{k}": to_memory(a, bound_type(w.type, data.dims))
            for k, (w, a) in enumerate(zip(work.inputs, data.arrays, strict=True))
            if w is not None and not w.constant and a is not None
        }
        self.outputs = {f"o{k}": np.zeros(int(t.size_bytes), np.uint8) for k, t in enumerate(self.types)}  # type: ignore[call-overload]
        weights = sum(
            a.nbytes
            for w, a in zip(work.inputs, data.arrays, strict=True)
            if w and w.constant and a is not None
        )
        copies = max(1, min(MAX_COPIES, COLD_BYTES // weights)) if weights > SMALL_BYTES else 1
        self.contexts = [
            Engine.open(bytes(bytearray(file)), threads=threads).context() for _ in range(copies)
        ]
        for context in self.contexts:
            context.bind(**given, **self.outputs)
        self._turn = itertools.cycle([c.execute for c in self.contexts])

    def run(self) -> None:
        """One run on the next copy."""
        next(self._turn)()

    def check(self, expected: list[np.ndarray]) -> str:
        """Why the result is wrong, or ''."""
        self.run()
        for k, (tensor, wanted) in enumerate(zip(self.types, expected, strict=True)):
            made = strided_view(self.outputs[f"o{k}"], tensor)
            wrong = worst_error(made, wanted, rounds_inside=self.rounds_inside)
            if wrong:
                return f"wrong result: {wrong}"
        return ""


def _time(runs: dict[int, Callable[[], None]], trying: Callable[[int], None]) -> Results:
    """Least seconds of one run each, candidates interleaved in bursts: what else the machine does only adds time."""
    counts, samples, alive = {}, {n: [] for n in runs}, set(runs)
    for number, run in runs.items():
        trying(number)
        run()
        start = time.perf_counter()
        run()
        counts[number] = max(1, min(1000, int(BURST_S / max(time.perf_counter() - start, 1e-7))))
    for round_number in range(ROUNDS):
        for number in sorted(alive):
            start = time.perf_counter()
            for _ in range(counts[number]):
                runs[number]()
            samples[number].append((time.perf_counter() - start) / counts[number])
        if round_number == 1 and samples:
            best = min(min(samples[n]) for n in alive)
            alive = {n for n in alive if min(samples[n]) <= GIVE_UP * best}
    return {n: float(min(s)) for n, s in samples.items()}


if __name__ == "__main__":
    main()
