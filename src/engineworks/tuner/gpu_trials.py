"""Candidates on a GPU: checked, then timed in CUDA graphs, as a network will run them.

A graph repeats the candidate's launches, so that the cost of starting a graph hardly counts and that launches overlap
as they do between layers. Each repetition takes another copy of the weights: together they are larger than the
level-2 cache, as a network's are, while activations have just been written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engineworks.core.types import TensorType
from engineworks.engine.schema import Kernel
from engineworks.errors import BuildError, DeviceError, EngineMismatch
from engineworks.kernels.backend import Backend
from engineworks.kernels.tactic import (
    Input,
    KernelImage,
    Output,
    Packed,
    Size,
    Step,
    Symbols,
    TensorMap,
    Word,
    Workspace,
)
from engineworks.kernels.workload import Workload
from engineworks.runtime.cuda.interface import BoundLaunch, Driver, Graph, TensorMapWord
from engineworks.runtime.cuda.interface import Word as LaunchWord
from engineworks.runtime.device import Memory
from engineworks.tuner.data import draw
from engineworks.tuner.messages import Job, Results, Setup, Timed
from engineworks.tuner.sample import expected_parts, wrong_part
from engineworks.tuner.trial import TrialData, bound, bound_type, strided_view, to_memory

GRAPH_S = 300e-6
"""Least time of one graph, by prediction: starting one takes a few microseconds."""
LEAST_REPEATS, MOST_REPEATS = 4, 96
SMALL_BYTES = 1 << 15
"""Weights below this stay in the caches of the processors anyway."""
COLD = 1.3
"""Copies of the weights together, in sizes of the level-2 cache."""
ROUNDS = 6
HOPELESS, HOPELESS_S = 10.0, 50e-6
"""A candidate whose single run takes so many times as long as the best before it, and at least this long, is out."""
GIVE_UP = 3.0
"""A candidate this many times slower than the best of the first round is not timed again."""
WARM_S, FIRST_WARM_S = 2e-3, 60e-3
"""A GPU that idled takes time to reach its clock: longer at first than between two problems."""
POISON = 0xFF
"""Byte that outputs are filled with before a check: NaN in floats."""


class GpuBench:
    """Tries the candidates of one problem after another on one GPU.

    Args:
        l2_bytes: of the level-2 cache.
    """

    def __init__(self, driver: Driver, l2_bytes: int) -> None:
        self.driver = driver
        self.l2_bytes = l2_bytes
        self._stream = driver.new_stream()
        self._marks = driver.new_event(timed=True), driver.new_event(timed=True)
        self._is_warm = False

    @property
    def stream(self) -> int:
        return int(self._stream)

    def measure(
        self, job: Job, setup: Setup, backend: Backend, cache: Any, trying: Callable[[int], None]
    ) -> Results:
        """Seconds of one run of each candidate, or why it was rejected.

        Raises:
            DeviceError: a kernel failed, after which this process cannot use the GPU any more.
        """
        with self.driver.current():
            return self._measure(job, setup, backend, cache, trying)

    def _measure(
        self, job: Job, setup: Setup, backend: Backend, cache: Any, trying: Callable[[int], None]
    ) -> Results:
        problem = Problem(self, job.work, draw(job.work, job.dims, in_memory_order=True))
        results: Results = {}
        right: dict[int, _Trial] = {}
        quickest_s = float("inf")
        for number, (name, tactic) in enumerate(job.tactics):
            trying(number)
            try:
                image = backend.provider(name).build(job.work, tactic, setup.isa)
                trial = _Trial(problem, image, setup, backend, cache, self._repeats(tactic.predicted_s))
                wrong = trial.wrong_once()
                alone_s = self._seconds(trial.launch_once)
                is_hopeless = alone_s > max(HOPELESS * quickest_s, HOPELESS_S)
                wrong = wrong or ("" if is_hopeless else trial.wrong_in_a_row())
            except (BuildError, EngineMismatch, DeviceError) as error:
                self.driver.synchronize(self.stream)  # raises when the GPU is lost, not only this candidate
                results[number] = f"it cannot be run: {type(error).__name__}: {str(error)[:300]}"
                continue
            if wrong:
                results[number] = wrong
            elif is_hopeless:
                results[number] = Timed(alone_s, 0.0)
            else:
                right[number] = trial
                quickest_s = min(quickest_s, alone_s)
        results.update(self._time(right, trying))
        return results

    def _repeats(self, predicted_s: float) -> int:
        return max(LEAST_REPEATS, min(MOST_REPEATS, round(GRAPH_S / max(predicted_s, 1e-6))))

    def _time(self, trials: Mapping[int, _Trial], trying: Callable[[int], None]) -> Results:
        """Least seconds of a run each, candidates in turns: what else the GPU does only adds time."""
        if not trials:
            return {}
        self._warm_up(next(iter(trials.values())).launch_all)
        samples: dict[int, list[float]] = {number: [] for number in sorted(trials)}
        alive = list(samples)
        for round_number in range(ROUNDS):
            for number in alive:
                trying(number)
                trial = trials[number]
                samples[number].append(self._seconds(trial.launch_all) / trial.repeats)
            if round_number == 0:
                limit = GIVE_UP * min(s[0] for s in samples.values())
                alive = [n for n in alive if samples[n][0] <= limit]
        return {n: Timed(min(s), max(s) / min(s) - 1) for n, s in samples.items()}

    def _seconds(self, launch: Callable[[], None]) -> float:
        start, end = self._marks
        self.driver.record(start, self.stream)
        launch()
        self.driver.record(end, self.stream)
        return self.driver.elapsed_s(start, end)

    def _warm_up(self, launch: Callable[[], None]) -> None:
        until = time.perf_counter() + (WARM_S if self._is_warm else FIRST_WARM_S)
        self._is_warm = True
        while time.perf_counter() < until:
            launch()
            self.driver.synchronize(self.stream)


class Problem:
    """One workload on the GPU: inputs and outputs that its candidates share, and what they should compute."""

    def __init__(self, bench: GpuBench, work: Workload, data: TrialData) -> None:
        self.bench, self.work, self.data = bench, work, data
        self.parts = expected_parts(work, data)
        self.constants = {
            k: a for k, (w, a) in enumerate(zip(work.inputs, data.arrays, strict=True))
            if w is not None and w.constant and a is not None
        }  # fmt: skip
        driver = bench.driver
        self.inputs: dict[int, Memory] = {}
        for k, (w, array) in enumerate(zip(work.inputs, data.arrays, strict=True)):
            if w is not None and array is not None and not w.constant:
                self.inputs[k] = self._uploaded(to_memory(array, bound_type(w.type, data.dims)), f"input {k}")
        self.types: list[TensorType] = [bound_type(t, data.dims) for t in work.outputs]
        sizes = [max(1, int(t.size_bytes)) for t in self.types]  # type: ignore[call-overload]
        self._host = [np.zeros(n, np.uint8) for n in sizes]
        self.outputs = [driver.allocate(n, f"output {k}") for k, n in enumerate(sizes)]
        self._weights: dict[tuple[bytes, int], Memory] = {}

    def _uploaded(self, raw: np.ndarray, what: str) -> Memory:
        memory = self.bench.driver.allocate(raw.nbytes, what)
        self.bench.driver.upload(memory.address, raw, self.bench.stream)
        return memory

    def copies(self, size_bytes: int) -> int:
        """Of weights of this size, so that none is in the level-2 cache when its turn comes."""
        if size_bytes <= SMALL_BYTES:
            return 1
        return max(1, min(MOST_REPEATS, -int(-COLD * self.bench.l2_bytes // size_bytes)))

    def weights(self, content: bytes, copies: int) -> Memory:
        """Copies of `content`, one after the other; equal ones are shared."""
        key = content, copies
        if key not in self._weights:
            driver, stream = self.bench.driver, self.bench.stream
            memory = driver.allocate(len(content) * copies, "weights")
            driver.upload(memory.address, np.frombuffer(content, np.uint8), stream)
            for k in range(1, copies):
                driver.copy(memory.address + k * len(content), memory.address, len(content), stream)
            self._weights[key] = memory
        return self._weights[key]

    def poison(self) -> None:
        """Fill the outputs, so that what a candidate does not write is seen."""
        for host, memory in zip(self._host, self.outputs, strict=True):
            host.fill(POISON)
            self.bench.driver.upload(memory.address, host, self.bench.stream)

    def wrong(self) -> str:
        """Why the outputs are wrong, or ''."""
        driver, stream = self.bench.driver, self.bench.stream
        for host, memory in zip(self._host, self.outputs, strict=True):
            driver.download(host, memory.address, stream)
        driver.synchronize(stream)
        made = [strided_view(h[: int(t.size_bytes)], t) for h, t in zip(self._host, self.types, strict=True)]  # type: ignore[call-overload]
        return wrong_part(self.work, self.parts, made)


@dataclass(frozen=True, slots=True)
class _Packing:
    """Where constants lie in one copy of the weights."""

    content: bytes
    packed: tuple[int, ...]
    plain: Mapping[int, int]


class _Trial:
    """One candidate, loaded, with the launches of all its repetitions; it owns the memory that they use.

    Raises:
        BuildError: it does not compile. DeviceError, EngineMismatch: the GPU or a library refuses it.
    """

    def __init__(
        self, problem: Problem, image: KernelImage, setup: Setup, backend: Backend, cache: Any, repeats: int
    ) -> None:
        self._problem, self._image, self._dims = problem, image, problem.data.dims
        packing = _packed(image, problem.constants)
        copies = problem.copies(len(packing.content))
        self.repeats = max(repeats, copies)
        self._packing = packing
        self._weights = problem.weights(packing.content, copies) if packing.content else None
        driver = problem.bench.driver
        sizes = [max(1, bound(size, self._dims)) for size in image.workspace]
        self._workspace = [driver.allocate(size, "workspace") for size in sizes]
        self._slots = {name: driver.allocate(8, f"size {name}") for name in image.writes_symbols}
        code = backend.code(image.functions, image.declarations, setup.isa, cache)
        functions: dict[str, Any] = {}
        for symbol in {s.symbol for s in image.steps}:
            kernel = Kernel(symbol, **code.kernels.get(symbol, {}))
            cubin = memoryview(code.image)[kernel.offset : kernel.offset + kernel.size]
            functions[symbol] = driver.function(cubin, kernel)
        overlaps = {s: backend.overlaps(image.functions[s], setup.isa) for s in functions}

        def launches(copy: int, *, is_first: bool) -> list[BoundLaunch]:
            base = self._weights.address + copy * len(packing.content) if self._weights else 0
            return [
                driver.bind(functions[s.symbol], self._grid(s), [self._word(w, base) for w in s.words],
                            overlaps=overlaps[s.symbol] and not (is_first and number == 0))
                for number, s in enumerate(image.steps)
            ]  # fmt: skip

        self._first = launches(0, is_first=True)
        turns = [launches(copy, is_first=False) for copy in range(copies)]
        self._others = [launch for k in range(1, self.repeats) for launch in turns[k % copies]]
        self._graph: Graph | None = None

    def launch_once(self) -> None:
        """Enqueue one run, launch by launch."""
        for launch in self._first:
            launch.launch(self._problem.bench.stream)

    def launch_all(self) -> None:
        """Enqueue the graph of all repetitions; captured late, when one run has made libraries ready."""
        bench = self._problem.bench
        if self._graph is None:
            self._graph = bench.driver.capture([*self._first, *self._others])
        self._graph.launch(bench.stream)

    def wrong_once(self) -> str:
        """Why the result of one run is wrong, or ''."""
        self._problem.poison()
        self.launch_once()
        return self._problem.wrong()

    def wrong_in_a_row(self) -> str:
        """Why the result of all repetitions in a row is wrong, or ''."""
        self._problem.poison()
        self.launch_all()
        wrong = self._problem.wrong()
        return f"{wrong} (after {self.repeats} runs in a row)" if wrong else ""

    def _grid(self, step: Step) -> tuple[int, int, int]:
        x, y, z = (*(bound(d, self._dims) for d in step.grid), 1, 1, 1)[:3]
        return x, y, z

    def _word(self, word: Word, weights: int) -> LaunchWord:
        match word:
            case Size():
                return bound(word.dim, self._dims)
            case TensorMap():
                sizes, strides = (
                    tuple(bound(d, self._dims) for d in each) for each in (word.sizes, word.strides)
                )
                return TensorMapWord(
                    self._address(word.base, weights), word.dtype.name, sizes, strides, word.box
                )
            case _:
                return self._address(word, weights)

    def _address(self, word: Input | Output | Packed | Workspace | Symbols, weights: int) -> int:
        match word:
            case Packed():
                return weights + self._packing.packed[word.index] + word.offset
            case Workspace():
                return self._workspace[word.index].address + word.offset
            case Output():
                return self._problem.outputs[word.index].address + word.offset
            case Symbols():
                return self._slots[word.name].address
            case Input():
                if word.index in self._problem.inputs:
                    return self._problem.inputs[word.index].address + word.offset
                return weights + self._packing.plain[word.index] + word.offset


def _packed(image: KernelImage, constants: Mapping[int, np.ndarray]) -> _Packing:
    """One copy of the weights that the image reads."""
    out = bytearray()
    packed = tuple(_append(out, each.pack(constants)) for each in image.packed)
    words = [w.base if isinstance(w, TensorMap) else w for s in image.steps for w in s.words]
    read = sorted({w.index for w in words if isinstance(w, Input) and w.index in constants})
    plain = {k: _append(out, constants[k]) for k in read}
    out += bytes(-len(out) % 256)
    return _Packing(bytes(out), packed, plain)


def _append(out: bytearray, array: np.ndarray) -> int:
    out += bytes(-len(out) % 256)
    offset = len(out)
    out += np.ascontiguousarray(array).tobytes()
    return offset
