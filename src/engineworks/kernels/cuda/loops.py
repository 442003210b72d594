"""CudaLoops: fused loop nests (pointwise chains, views, reductions, softmax, normalisation) on a GPU."""

from __future__ import annotations

from collections.abc import Iterable

from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.loops import emit_loops, gpu_nest_of
from engineworks.codegen.triton.loops_choice import schedules_of
from engineworks.codegen.triton.loops_schedule import GpuSchedule
from engineworks.errors import NoTactic
from engineworks.ir.kernel import LoopKernel
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Size, Step, Tactic
from engineworks.kernels.workload import Workload

_CANDIDATES = (1, 4, 8, 12, 16, 64)
"""Schedules proposed at each effort."""


class CudaLoops:
    """Every workload that is a LoopKernel."""

    name = "cuda.loops"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """Schedules, best prediction first.

        Raises:
            NoTactic: not a loop nest, or one of strings.
        """
        nest = gpu_nest_of(_kernel_of(work))
        count = _CANDIDATES[max(0, min(effort, len(_CANDIDATES) - 1))]
        for seconds, schedule in schedules_of(nest, isa)[:count]:
            yield Tactic(self.name, schedule, seconds)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """The image of one schedule."""
        return loop_image(_kernel_of(work), tactic.config)


def loop_image(kernel: LoopKernel, schedule: GpuSchedule) -> KernelImage:
    """The image of one nest whose operand k is workload input k."""
    code = emit_loops(kernel, schedule)
    addresses = (*map(Input, range(len(kernel.operands))), *map(Output, range(len(kernel.outputs))))
    step = Step(code.function.name, (*addresses, *map(Size, code.sizes)), grid=(code.grid,))
    return KernelImage({code.function.name: code.function}, frozenset(), (step,))


def _kernel_of(work: Workload) -> LoopKernel:
    if work.loops is None:
        raise NoTactic(f"{CudaLoops.name} computes loop nests; this workload is {work.anchor}.")
    kernel = work.loops
    for type_ in (*kernel.operands, *kernel.outputs):
        if type_.dtype.kind == "string":
            raise NoTactic(f"{CudaLoops.name} has no code for strings, and this kernel has a {type_}.")
    return kernel


PROVIDERS = (CudaLoops(),)
