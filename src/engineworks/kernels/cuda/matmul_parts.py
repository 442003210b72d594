"""The second launch of products whose depth is cut: adds the sums of the parts in order, finishes and stores them."""

from __future__ import annotations

from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.matmul_finish import Finish
from engineworks.kernels.cuda.matmul_text import Parameters, filled
from engineworks.kernels.cuda.matmul_tiling import Tiling, emit_ends, emit_first
from engineworks.kernels.tactic import Step, Workspace
from engineworks.kernels.workload import Workload

_TEXT = """
@triton.jit
def KERNEL({parameters}):
    index = tl.program_id(0) // {slices}
    slice = tl.program_id(0) % {slices}
    tile = index + {uncut}
    {where}
    {before}
    gdc_wait()
    gdc_launch_dependents()
    {early}
    total = tl.load(here)
    {sum}
    {after}
"""
_WARPS = 4
_LEAST, _MOST = 4 * 32 * _WARPS, 16 * 32 * _WARPS
"""Elements that a program takes."""


def parts_step(work: Workload, tiling: Tiling, sum_: DType, gpu: Gpu) -> tuple[KernelFunction, Step]:
    """The kernel that adds the parts of the cut tiles, and its launch. A program takes some rows of one tile."""
    config, problem, parameters = tiling.config, tiling.problem, Parameters()
    rows = _rows(tiling, gpu)
    slices = config.rows // rows
    where, before, early, sum_lines, after = (Lines() for _ in range(5))
    indices = tiling.emit(where, parameters)
    where.line(f"row = row_tile * {config.rows} + slice * {rows} + tl.arange(0, {rows})")
    where.line(f"column = column_tile * {config.columns} + tl.arange(0, {config.columns})")
    out_first = emit_first(where, parameters, "out_first", indices, tuple(b.out for b in problem.batches))
    block = tiling.block(out_first)
    emit_ends(where, parameters, problem, block)
    size = config.rows * config.columns
    partial = parameters.pointer("partial", sum_, Workspace(0))
    where.line(f"inner = (slice * {rows} + tl.arange(0, {rows}))[:, None] * {config.columns}")
    where.line(f"inner += tl.arange(0, {config.columns})[None, :]")
    where.line(f"here = {partial} + index.to(tl.int64) * {config.parts * size} + inner")
    finish = Finish(work, problem, parameters, block)
    finish.load_constants(before)
    finish.load_all(early)
    for part in range(1, config.parts):
        sum_lines.line(f"total += tl.load(here + {part * size})")
    finish.store(after, "total")
    text = filled(_TEXT, {
        "slices": str(slices), "uncut": str(config.uncut), "where": str(where), "before": str(before),
        "early": str(early), "sum": str(sum_lines), "after": str(after), "parameters": parameters.parameters,
    })  # fmt: skip
    function = named("matmul_parts", text, parameters.arguments, warps=_WARPS, stages=1, waits=True)
    return function, Step(function.name, parameters.words, grid=(tiling.cut * slices,))


def _rows(tiling: Tiling, gpu: Gpu) -> int:
    """Rows of a tile that a program takes: so few that every processor has work, and no more than registers hold."""
    config = tiling.config
    elements = typical(tiling.cut, 1 << 16) * config.rows * config.columns
    rows = config.rows
    while rows > 1 and rows * config.columns > _LEAST:
        if rows * config.columns <= _MOST and elements // (rows * config.columns) >= 2 * gpu.processors:
            break
        rows //= 2
    return rows


def workspace_bytes(tiling: Tiling, sum_: DType) -> Dim:
    """Of the sums of all parts."""
    config = tiling.config
    return tiling.cut * (config.parts * config.rows * config.columns * sum_.size_bytes)
