"""Measures candidates in a process of its own, with the timing cache in front."""

from __future__ import annotations

import contextlib
import itertools
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from engineworks.core.target import Target
from engineworks.errors import TuningError
from engineworks.kernels.backend import Candidate
from engineworks.kernels.tactic import Hardware
from engineworks.kernels.workload import Workload
from engineworks.runtime.cpu.pool import available_cores
from engineworks.tuner import nvml
from engineworks.tuner.cache import Conditions, TimingCache, cache_key, whole_key
from engineworks.tuner.data import typical_dims
from engineworks.tuner.gpu_facts import Facts, described
from engineworks.tuner.messages import Job, Results, Setup, Timed, WholeJob, receive, send

TIME_LIMIT_S = 60.0
"""Without a sign of life for this long the worker is given up."""
COMPILED_IN_A_ROW = 4
"""Candidates that a process compiles before it asks for more."""
DIED = "the measuring process died or hung"
"""Why a candidate was rejected; not kept in the cache, as the machine may have been short of memory or time."""


class Worker:
    """One measuring process, started when first needed and again after a crash."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, job: Job | WholeJob) -> None:
        """Send a job."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engineworks.tuner.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            send(self._pipe("stdin"), self._setup)
        with contextlib.suppress(
            BrokenPipeError
        ):  # a process that died meanwhile: `finish` finds its pipe closed
            send(self._pipe("stdin"), job)

    def finish(self) -> tuple[Results, int | None]:
        """The job's results, and the candidate during which the process died or hung (None: all went well)."""
        trying: int | None = None
        while True:
            ready, _, _ = select.select([self._pipe("stdout")], [], [], TIME_LIMIT_S)
            if not ready:
                self.stop()
                return {}, trying if trying is not None else -1
            try:
                # Past the buffer: a message read ahead into it would be invisible to `select`.
                # pyrefly: ignore[missing-attribute]
                kind, value = receive(self._pipe("stdout").raw)
            except EOFError:
                self.stop()
                return {}, trying if trying is not None else -1
            if kind == "done":
                return value, None
            trying = value

    def _pipe(self, name: str) -> BinaryIO:
        assert self._process is not None
        return getattr(self._process, name)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._pipe("stdin").close()
            self._pipe("stdout").close()
            self._process = None


@dataclass(slots=True)
class ProcessTuner:
    """Times candidates of workloads; remembers in the cache.

    Args:
        objects: the backend's cache of compiled functions.
        dims: the typical value of each symbol.
        facts: of the GPU (gpu_facts.py); none for a CPU.
        measures: False answers from the cache alone: there is no such GPU here.
    """

    target: Target
    isa: Hardware
    objects: Any
    cache: TimingCache
    conditions: Conditions
    threads: int
    dims: Mapping[str, int] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    measures: bool = True
    _worker: Worker | None = None
    _unknown: set[str] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    _clocks: list[nvml.Clock] = field(default_factory=list)
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def prepare(
        self, problems: Sequence[tuple[Workload, list[Candidate]]], progress: Callable[[int, int], None]
    ) -> None:
        """Compile what will be measured, in as many processes as there are cores; measuring itself is done alone.

        `progress` is called with (done, total). A candidate that kills its compiler is left for `measure` to reject.
        """
        if not self.measures:
            return
        jobs = [Job(w, tuple((c.provider.name, c.tactic) for c in some), {}, compile_only=True)
                for w, candidates in problems for some in self._portions(self._missing(w, candidates))]  # fmt: skip
        if len(jobs) < 2 or self._setup().objects is None:
            return
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        done = itertools.count(1)

        def serve() -> None:
            worker = Worker(self._setup())
            try:
                while True:
                    worker.start(waiting.get_nowait())
                    worker.finish()
                    progress(next(done), len(jobs))
            except queue.Empty:
                return
            finally:
                worker.stop()

        threads = [threading.Thread(target=serve) for _ in range(min(available_cores(), len(jobs)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _portions(self, candidates: list[Candidate]) -> list[list[Candidate]]:
        """What one process compiles in a row: kernels of a GPU take long enough to be spread."""
        step = COMPILED_IN_A_ROW if self.facts else max(1, len(candidates))
        return [candidates[k : k + step] for k in range(0, len(candidates), step)]

    def _missing(self, work: Workload, candidates: list[Candidate]) -> list[Candidate]:
        dims = typical_dims(work, self.dims)
        if len(candidates) < 2:
            return []
        return [
            c
            for c in candidates
            if self.cache.get(cache_key(work, c.provider, c.tactic, self.conditions, dims)) is None
        ]

    def measure(self, work: Workload, candidates: list[Candidate]) -> dict[str, float | str]:
        """Seconds, or why rejected, by tactic text."""
        dims = typical_dims(work, self.dims)
        keys = {
            c.tactic.text(): cache_key(work, c.provider, c.tactic, self.conditions, dims) for c in candidates
        }
        known = {text: self.cache.get(key) for text, key in keys.items()}
        missing = [c for c in candidates if known[c.tactic.text()] is None]
        if not self.measures:
            is_known = any(isinstance(found, float) for found in known.values())
            (self._known if is_known else self._unknown).add(work.key())
        elif missing:
            if self.facts:
                self.cache.add_facts(self.facts)
            for candidate, found in self._try(work, missing).items():
                text = missing[candidate].tactic.text()
                note = f"{work.anchor or 'loops'} {', '.join(str(t) for t in work.outputs)}: {text}"
                result = found.seconds if isinstance(found, Timed) else found
                if isinstance(found, Timed):
                    note += f" (spread {found.spread:.0%})"
                known[text] = self.cache.add(keys[text], result, note, lasts=result != DIED)
        return {text: result for text, result in known.items() if result is not None}

    def measure_whole(self, file: bytes, identity: str, threads: tuple[int, ...]) -> dict[int, float]:
        """Seconds of one inference of a finished engine by number of threads; empty when it could not be run.

        Args:
            identity: equal for engines that run the same launches, for the cache.
        """
        keys = {n: f"{whole_key(identity, self.conditions)}/{n}" for n in threads}
        known = {n: found for n, key in keys.items() if isinstance(found := self.cache.get(key), float)}
        if len(known) < len(threads):
            worker = self._running_worker()
            worker.start(WholeJob(file, threads))
            found, died_at = worker.finish()
            if died_at is not None:
                return {}
            seconds = {n: s for n in threads if isinstance(s := found[n], float)}
            known = {
                n: float(self.cache.add(keys[n], s, f"whole engine, {n} threads")) for n, s in seconds.items()
            }
        return known

    def _try(self, work: Workload, candidates: list[Candidate]) -> Results:
        """Results by position; a candidate that kills the worker is rejected and the others are tried again."""
        results: Results = {}
        left = list(range(len(candidates)))
        idle_deaths = 0
        deadline = time.monotonic() + TIME_LIMIT_S * 4
        while left:
            if time.monotonic() > deadline:
                raise TuningError(
                    f"measuring {work.anchor or 'a loop nest'} took more than {TIME_LIMIT_S * 4:.0f} s"
                )
            job = Job(
                work,
                tuple((candidates[k].provider.name, candidates[k].tactic) for k in left),
                dict(self.dims),
            )
            worker = self._running_worker()
            worker.start(job)
            found, died_at = worker.finish()
            if self.facts and (clock := nvml.clock()):
                self._clocks.append(clock)
            if died_at is None:
                results.update({left[k]: v for k, v in found.items()})
                return results
            if died_at < 0:
                idle_deaths += 1
                if idle_deaths > 1:
                    raise TuningError(
                        f"the measuring process ends before it tries a kernel for {work.anchor or 'a loop nest'}; "
                        f"its own message was printed above.\n{work.text()}"
                    )
                continue
            results[left.pop(died_at)] = DIED
        return results

    def warnings(self) -> tuple[str, ...]:
        """Sentences for the report: what was not measured here, and a GPU that was slowed down."""
        sentences = []
        if not self.measures and self._known:
            sentences.append(
                f"kernels were chosen by times measured elsewhere, on {described(self.facts)}: {self.cache.path}"
            )
        if self._unknown:
            sentences.append(
                f"kernels of {len(self._unknown)} problems were predicted, not measured: there is no {self.target} "
                f"here. Build on such a machine, or carry its timing cache here (timing_cache=…)"
            )
        slowed = sorted({reason for clock in self._clocks for reason in clock.slowed_by})
        if slowed:
            shown = f"{min(c.mhz for c in self._clocks)} to {max(c.mhz for c in self._clocks)} MHz"
            sentences.append(
                f"the GPU was slowed down while kernels were timed ({', '.join(slowed)}): {shown}"
            )
        return tuple(sentences)

    def _running_worker(self) -> Worker:
        if self._worker is None:
            self._worker = Worker(self._setup())
        return self._worker

    def _setup(self) -> Setup:
        folder = str(self.objects.folder) if self.objects.folder else None
        if folder is None and self.facts:
            # What many processes compile must meet somewhere.
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="engineworks-")
            folder = self._folder.name
        return Setup(self.target, self.isa, folder, self.threads)

    def close(self) -> None:
        """End the measuring process."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self._folder is not None:
            self._folder.cleanup()
