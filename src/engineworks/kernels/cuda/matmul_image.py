"""The image of a tile kernel: packed weights, the launch that multiplies, and the one that adds parts."""

from __future__ import annotations

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, dim_min
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cuda.matmul_arithmetic import Arithmetic
from engineworks.kernels.cuda.matmul_corrections import normalising_epsilon
from engineworks.kernels.cuda.matmul_parts import parts_step, workspace_bytes
from engineworks.kernels.cuda.matmul_sides import Side, column_sums, left_side, packed_right, right_side
from engineworks.kernels.cuda.matmul_tile import TileKernel
from engineworks.kernels.cuda.matmul_tiling import TileConfig, Tiling
from engineworks.kernels.tactic import KernelImage, Packed, PackedConstant, Step
from engineworks.kernels.workload import Workload


def sides_of(work: Workload, problem: Problem, config: TileConfig) -> tuple[Side, Side, list[PackedConstant]]:
    """The factors as the kernel reads them, with what is packed for it."""
    left = left_side(work, problem)
    if not problem.right_constant:
        return left, right_side(work, problem), []
    parts = config.parts if config.uncut == 0 else 1
    right, packed = packed_right(work, problem, config.columns, config.depth, parts)
    return left, right, [packed]


def tile_image(
    work: Workload, problem: Problem, config: TileConfig, arithmetic: Arithmetic, gpu: Gpu
) -> KernelImage:
    """The image of a TileConfig."""
    left, right, packed = sides_of(work, problem, config)
    sums = None
    flips = (
        arithmetic.operand is dtypes.i8 and left.dtype is dtypes.u8 and packed and not problem.right_batches
    )
    if flips or normalising_epsilon(work) is not None:
        sums = Packed(len(packed))
        packed.append(column_sums(problem))
    kernel = TileKernel(work, problem, config, arithmetic, left, right, sums)
    function = kernel.function()
    tiling = Tiling(problem, config)
    programs: Dim = tiling.programs
    if config.persistent:
        programs = dim_min(programs, gpu.processors)
    functions = {function.name: function}
    steps = [Step(function.name, kernel.parameters.words, grid=(programs,))]
    workspace: tuple[Dim, ...] = ()
    if config.parts > 1:
        adding, step = parts_step(work, tiling, arithmetic.sum, gpu)
        functions[adding.name] = adding
        steps.append(step)
        workspace = (workspace_bytes(tiling, arithmetic.sum),)
    return KernelImage(functions, frozenset(), tuple(steps), tuple(packed), workspace)
