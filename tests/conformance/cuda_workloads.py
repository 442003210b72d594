"""The kernel problems of the operators' examples on a GPU, and every way in which they are solved.

python -m tests.conformance.cuda_workloads compile [effort] [arch …]: compiles every tactic proposed for any example.
python -m tests.conformance.cuda_workloads run [rank …]: runs all examples with the tactics of that rank (0 the best).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.builder.build import build_engine
from engineworks.builder.config import BuildConfig
from engineworks.codegen.triton.function import KernelFunction
from engineworks.codegen.triton.gpu import Gpu, gpu_of
from engineworks.core.types import TensorType
from engineworks.engine import container
from engineworks.ir.interpret import interpret
from engineworks.kernels.backend import Candidate
from engineworks.kernels.cuda.backend import BACKEND
from engineworks.kernels.tactic import LibraryCall
from engineworks.kernels.workload import Workload
from engineworks.runtime.engine import Engine
from engineworks.testing.compare import Tolerance, assert_close, tolerance
from engineworks.testing.emulated_gpu import EmulatedBackend, emulated_device
from engineworks.testing.inputs import Case, cases


class RankedBackend(EmulatedBackend):
    """Takes the tactic of a rank (the last one where there are fewer), and remembers the problems it was asked for.

    Args:
        rank: 0 is the best prediction.
    """

    def __init__(self, rank: int = 0) -> None:
        self.rank = rank
        self.asked: dict[str, Workload] = {}
        self._is_question = False

    def claims(self, work: Workload, isa: Any) -> bool:
        self._is_question = True
        try:
            return super().claims(work, isa)
        finally:
            self._is_question = False

    def propose(
        self, work: Workload, isa: Any, effort: int, **options: Any
    ) -> tuple[list[Candidate], list[str]]:
        if self._is_question:
            return super().propose(work, isa, effort, **options)
        self.asked[work.key()] = work
        found, refused = super().propose(work, isa, 1 if self.rank else effort, **options)
        # What a library computes has no text to interpret.
        ours = [c for c in found if not _is_library(c, work, isa)] if self.rank else found
        return ours[min(self.rank, len(ours) - 1) :] if ours else found, refused


def _is_library(candidate: Candidate, work: Workload, isa: Any) -> bool:
    functions = candidate.provider.build(work, candidate.tactic, isa).functions
    return any(isinstance(f, LibraryCall) for f in functions.values())


def run_case(case: Case, rank: int = 0, **options: Any) -> RankedBackend:
    """Build and run an example, and compare it with the reference; the backend knows its problems.

    Raises:
        AssertionError: with the worst element.
    """
    backend = RankedBackend(rank)
    graph, feeds = case.graph(), case.feeds()
    expected = interpret(case.graph(), feeds)
    config = BuildConfig(target="cuda:sm_90", effort=0, timing_cache=False, **options)
    emitted = build_engine(graph, config, backend=backend)
    engine = Engine.open(container.encode(emitted.manifest, emitted.sections), device=emulated_device())
    with np.errstate(all="ignore"):
        results = engine.run(**feeds)
    for (name, right), value in zip(expected.items(), graph.outputs, strict=True):
        assert_close(results[name], right, allowed(case, right, value.type), name)
    return backend


def allowed(case: Case, output: np.ndarray, type_: TensorType) -> Tolerance:
    """How far an engine's output may be off."""
    largest = max([int(np.size(a)) for a in case.arrays() if a is not None], default=1)
    length = max(1, largest // max(1, output.size))
    return tolerance(type_.dtype, length, ("exp", "log", "div", "pow"), case.example.rtol)


def problems(case: Case) -> list[Workload]:
    """What an example asks of the kernel families."""
    backend = RankedBackend()
    config = BuildConfig(target="cuda:sm_90", effort=0, timing_cache=False)
    build_engine(case.graph(), config, backend=backend)
    return list(backend.asked.values())


def kernels(work: Workload, gpu: Gpu, effort: int) -> Iterator[tuple[str, KernelFunction]]:
    """(tactic, kernel) for each kernel of each tactic of our own."""
    for candidate in BACKEND.propose(work, gpu, effort)[0]:
        image = candidate.provider.build(work, candidate.tactic, gpu)
        for function in image.functions.values():
            if isinstance(function, KernelFunction):
                yield candidate.tactic.text(), function


def _compile_all(effort: int, archs: Sequence[str]) -> None:
    from engineworks.codegen.triton.compile import compile_cubin

    done: set[str] = set()
    for case in cases():
        for work in problems(case):
            for gpu in map(gpu_of, archs):
                for tactic, function in kernels(work, gpu, effort):
                    key = f"{gpu.arch} {function.key()}"
                    if key in done:
                        continue
                    done.add(key)
                    _report(partial(compile_cubin, function, gpu), f"{case.label} {gpu.arch} {tactic}")
    sys.stdout.write(f"{len(done)} kernels\n")


def _report(attempt: Any, what: str) -> None:
    """A line for what fails; the others go on."""
    try:
        attempt()
    except Exception as error:  # the boundary of one attempt
        sys.stdout.write(f"{what}: {type(error).__name__}: {str(error)[:500]}\n")
        sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    what, *rest = arguments
    if what == "compile":
        effort, *archs = rest or ["1"]
        _compile_all(int(effort), archs or ["sm_80", "sm_90", "sm_100"])
        return
    for rank in map(int, rest or ["1", "2", "3"]):
        for case in cases():
            _report(partial(run_case, case, rank), f"{case.label} rank {rank}")


if __name__ == "__main__":
    main(sys.argv[1:])
