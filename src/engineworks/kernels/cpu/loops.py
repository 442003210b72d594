"""CpuLoops: fused loop nests (pointwise chains, views, reductions, softmax, normalisation) on the CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.loops import emit_loops
from engineworks.codegen.llvm.loops_choice import accesses_of, schedules_of, work_of
from engineworks.codegen.llvm.loops_halves import halves_of
from engineworks.codegen.llvm.loops_nest import Nest, nest_of
from engineworks.codegen.schedule import CpuSchedule, likely
from engineworks.core.dims import Dim, product, symbol_facts
from engineworks.errors import NoTactic
from engineworks.ir.kernel import LoopKernel
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Size, Step, Tactic, Word, Workspace
from engineworks.kernels.workload import Workload

# What the cost model assumes of one core; only ratios between tactics matter.
_BYTES_PER_S = 1.5e10
_VECTOR_OPERATIONS_PER_S = 3e9
_CANDIDATES = (1, 1, 2, 4, 6, 8)
"""Schedules proposed at each effort."""


@dataclass(frozen=True, slots=True)
class Halves:
    """Two launches: parts of the rows, then the rows of parts."""

    parts: CpuSchedule
    whole: CpuSchedule


class CpuLoops:
    """Every workload that is a LoopKernel.

    The kernels read their inputs while they write their outputs, in no order that a caller may rely on: an output may
    share memory with an input only where the planner knows that each element is read just before it is written.
    """

    name = "cpu.loops"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Schedules, best prediction first.

        Raises:
            NoTactic: not a loop nest, or one of strings.
        """
        kernel = _kernel_of(work)
        nest = nest_of(kernel)
        halves = halves_of(kernel)
        if halves is not None:
            chosen = (next(schedules_of(nest_of(half), isa)) for half in halves)
            seconds = predicted_s(nest, next(schedules_of(nest, isa)))
            yield Tactic(self.name, Halves(*chosen), seconds * 0.9)
            if effort == 0:
                return
        count = _CANDIDATES[max(0, min(effort, len(_CANDIDATES) - 1))]
        for place, schedule in zip(range(count), schedules_of(nest, isa), strict=False):
            # The order is the heuristic's; the factor keeps it for those who sort by prediction.
            yield Tactic(self.name, schedule, predicted_s(nest, schedule) * (1 + 0.01 * place))

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """The image of one schedule."""
        kernel = _kernel_of(work)
        if not isinstance(tactic.config, Halves):
            return self._image(kernel, tactic.config, isa)
        halves = halves_of(kernel)
        assert halves is not None, "a tactic in halves was proposed for a kernel that has none"
        parts = self._image(halves[0], tactic.config.parts, isa)
        whole = self._image(halves[1], tactic.config.whole, isa)
        return joined(parts, whole, halves[0].outputs[0].size_bytes)

    def _image(self, kernel: LoopKernel, schedule: CpuSchedule, isa: Isa) -> KernelImage:
        return loop_image(kernel, schedule, isa, self._symbol(kernel, schedule, isa))

    def _symbol(self, kernel: LoopKernel, schedule: CpuSchedule, isa: Isa) -> str:
        shapes = [t.shape for t in (*kernel.operands, *kernel.outputs)]
        facts = {
            n: f
            for d in (*kernel.parallel, *kernel.reduced, *sum(shapes, ()))
            for n, f in symbol_facts(d).items()
        }
        identity = f"{kernel}\n{schedule}\n{isa.name}\n{self.version}\n{sorted(facts.items())}"
        return "loops_" + hashlib.sha256(identity.encode()).hexdigest()[:16]


def loop_image(kernel: LoopKernel, schedule: CpuSchedule, isa: Isa, symbol: str) -> KernelImage:
    """The image of one nest whose operand k is workload input k."""
    code = emit_loops(kernel, schedule, isa, symbol)
    addresses = (*map(Input, range(len(kernel.operands))), *map(Output, range(len(kernel.outputs))))
    step = Step(code.symbol, (*addresses, *map(Size, code.sizes)), code.tasks)
    return KernelImage({code.symbol: code.text}, code.declarations, (step,))


def joined(parts: KernelImage, whole: KernelImage, partial_bytes: Dim) -> KernelImage:
    """Both launches as one image; the partial results lie in its workspace."""

    def of_parts(word: Word) -> Word:
        return Workspace(0) if isinstance(word, Output) else word

    def of_whole(word: Word) -> Word:
        if not isinstance(word, Input):
            return word
        return Workspace(0) if word.index == 0 else Input(word.index - 1, word.offset)

    steps = [replace(s, words=tuple(map(of_parts, s.words))) for s in parts.steps]
    steps += [replace(s, words=tuple(map(of_whole, s.words))) for s in whole.steps]
    return KernelImage(
        {**parts.functions, **whole.functions},
        parts.declarations | whole.declarations,
        tuple(steps),
        workspace=(partial_bytes,),
    )


def _kernel_of(work: Workload) -> LoopKernel:
    if work.loops is None:
        raise NoTactic(f"{CpuLoops.name} computes loop nests; this workload is {work.anchor}.")
    kernel = work.loops
    for type_ in (*kernel.operands, *kernel.outputs):
        if type_.dtype.kind == "string":
            raise NoTactic(f"{CpuLoops.name} has no code for strings, and this kernel has a {type_}.")
    return kernel


def predicted_s(nest: Nest, schedule: CpuSchedule) -> float:
    """Seconds on one thread: the larger of memory traffic and arithmetic."""
    points = product([max(1, likely(e)) for e in nest.extents.values()])
    rows = product([max(1, likely(nest.extents[a])) for a in nest.parallel])
    moved = sum(a.size_bytes * (points if a.over_reduced else rows) for a in accesses_of(nest))
    extent = max(1, likely(nest.extents[schedule.vector])) if schedule.vector >= 0 else 1
    filled = -(-extent // schedule.lanes) * schedule.lanes / extent
    # pyrefly: ignore[unsupported-operation]
    operations = (work_of(nest) + len(accesses_of(nest))) * points / schedule.lanes * filled
    # pyrefly: ignore[bad-argument-type]
    return max(float(moved) / _BYTES_PER_S, operations / _VECTOR_OPERATIONS_PER_S) + 2e-7


PROVIDERS = (CpuLoops(),)
