"""CudaLoops: fused loop nests (pointwise chains, views, reductions, softmax, normalisation) on a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.loops import emit_loops, gpu_nest_of
from engineworks.codegen.triton.loops_choice import schedules_of
from engineworks.codegen.triton.loops_parts import Phases, phases_of
from engineworks.codegen.triton.loops_schedule import GpuSchedule
from engineworks.errors import NoTactic
from engineworks.ir.kernel import LoopKernel
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Size, Step, Tactic, Word, Workspace
from engineworks.kernels.workload import Workload

_CANDIDATES = (1, 4, 8, 12, 16, 256)
"""Schedules proposed at each effort."""
_SMALL_S, _SMALL_CANDIDATES = 2.6e-6, 5
"""Launches that take little longer than nothing gain little by a choice: fewer of them are measured."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Several launches (`loops_parts`), each with its schedule."""

    schedules: tuple[GpuSchedule, ...]

    def __str__(self) -> str:
        return f"parts ({', '.join(map(str, self.schedules))})"


class CudaLoops:
    """Every workload that is a LoopKernel.

    The kernels read their inputs while they write their outputs, in no order that a caller may rely on.
    """

    name = "cuda.loops"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """Schedules, best prediction first.

        Raises:
            NoTactic: not a loop nest, or one of strings.
        """
        kernel = _kernel_of(work)
        count = _CANDIDATES[max(0, min(effort, len(_CANDIDATES) - 1))]
        found: list[tuple[float, GpuSchedule | Parts]] = [*schedules_of(gpu_nest_of(kernel), isa)]
        phases = phases_of(kernel, isa.processors)
        if phases is not None:
            best = [schedules_of(gpu_nest_of(k), isa)[0] for k in phases.kernels]
            found.append((sum(seconds for seconds, _ in best), Parts(tuple(s for _, s in best))))
        return [Tactic(self.name, config, seconds) for seconds, config in _varied(found, count)]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """The image of one tactic."""
        kernel = _kernel_of(work)
        if not isinstance(tactic.config, Parts):
            return loop_image(kernel, tactic.config)
        phases = phases_of(kernel, isa.processors)
        assert phases is not None, "a tactic in parts was proposed for a kernel that has none"
        images = [loop_image(k, s) for k, s in zip(phases.kernels, tactic.config.schedules, strict=True)]
        return _joined(images, phases, len(kernel.operands))


def _varied(
    found: list[tuple[float, GpuSchedule | Parts]], count: int
) -> list[tuple[float, GpuSchedule | Parts]]:
    """The best predictions, but a few of each structure before more of one: what a structure costs is known less well
    than what its block sizes do.
    """
    ranked = sorted(found, key=lambda pair: pair[0])
    if count == 1:
        return ranked[:1]
    if count < _CANDIDATES[-1] and ranked[0][0] < _SMALL_S:
        count = min(count, _SMALL_CANDIDATES)
    seen: dict[object, int] = {}
    places = []
    for seconds, config in ranked:
        structure = _structure(config)
        seen[structure] = seen.get(structure, 0) + 1
        places.append((seen[structure] > max(2, count // 4), seconds))
    chosen = sorted(zip(places, ranked, strict=True), key=lambda pair: pair[0])[:count]
    return sorted((pair for _, pair in chosen), key=lambda pair: pair[0])


def _structure(config: GpuSchedule | Parts) -> object:
    if isinstance(config, Parts):
        return Parts
    reduced = config.reduced
    return tuple(d.axes for d in config.parallel), reduced and (reduced.axes, reduced.block == 1)


def loop_image(kernel: LoopKernel, schedule: GpuSchedule) -> KernelImage:
    """The image of one nest whose operand k is workload input k."""
    code = emit_loops(kernel, schedule)
    addresses = (*map(Input, range(len(kernel.operands))), *map(Output, range(len(kernel.outputs))))
    step = Step(code.function.name, (*addresses, *map(Size, code.sizes)), grid=(code.grid,))
    return KernelImage({code.function.name: code.function}, frozenset(), (step,))


def _joined(images: list[KernelImage], phases: Phases, operands: int) -> KernelImage:
    """All launches as one image; each partial result is a workspace."""
    steps: list[Step] = []
    for place, (image, kernel) in enumerate(zip(images, phases.kernels, strict=True)):
        is_last = place == len(images) - 1
        made = len(kernel.operands) - operands  # partial results before this launch

        def word(w: Word, made: int = made, is_last: bool = is_last) -> Word:
            if isinstance(w, Input) and w.index >= operands:
                return Workspace(w.index - operands, w.offset)
            return Workspace(made + w.index, w.offset) if isinstance(w, Output) and not is_last else w

        steps += [replace(s, words=tuple(map(word, s.words))) for s in image.steps]
    functions = {name: f for image in images for name, f in image.functions.items()}
    sizes = tuple(t.size_bytes for t in phases.partials)
    return KernelImage(functions, frozenset(), tuple(steps), workspace=sizes)


def _kernel_of(work: Workload) -> LoopKernel:
    if work.loops is None:
        raise NoTactic(f"{CudaLoops.name} computes loop nests; this workload is {work.anchor}.")
    kernel = work.loops
    for type_ in (*kernel.operands, *kernel.outputs):
        if type_.dtype.kind == "string":
            raise NoTactic(f"{CudaLoops.name} has no code for strings, and this kernel has a {type_}.")
    return kernel


PROVIDERS = (CudaLoops(),)
