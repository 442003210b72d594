"""Products of a few rows, bound by reading the right factor: its elements meet all rows once they are in registers.

The first step's weights, often all of them, are read while the kernels ahead still run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engineworks.codegen.triton.function import named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held_type
from engineworks.core.dims import Dim, bounds, ceil_div
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.matmul_problem import Problem, problem_of
from engineworks.kernels.cuda import matmul_cost as cost
from engineworks.kernels.cuda.matmul_finish import Block, Finish, product_dtype
from engineworks.kernels.cuda.matmul_sides import Side, left_side, packed_right, refuse_unloadable, right_side
from engineworks.kernels.cuda.matmul_text import Parameters, divides, filled, guarded, scaled
from engineworks.kernels.cuda.matmul_tiling import emit_batches, emit_first
from engineworks.kernels.tactic import Effort, KernelImage, PackedConstant, Step, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops._product_types import sum_dtype

_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    {where}
    last_k = {last}
    {before}
    gdc_wait()
    gdc_launch_dependents()
    {early}
    for k in range(0, last_k, {depth}):
        following = {following}
        {step}
        weights = following
    k = last_k
    {step}
    {after}
"""
MOST_ROWS = 8
CANDIDATES = (1, 2, 3, 6, 12, 1000)
"""How many candidates each effort gets."""
_MOST_REGISTERS = 160
"""Of a thread, for sums and weights."""
_STEP_S = 0.35e-6
_WANTED_BYTES = 40_000
"""On their way to a processor, for all that the memory gives."""
_WIDEST_LOAD = 16


@dataclass(frozen=True, slots=True)
class RowsConfig:
    """Columns of the output that a program computes, the depth that it reads at once, and its warps."""

    columns: int
    depth: int
    warps: int


class CudaMatMulRows:
    """matmul of at most 8 rows, of any types that a kernel can load."""

    name = "cuda.matmul_rows"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        if work.anchor is None or work.anchor.name != "matmul":
            raise NoTactic("not a matmul")
        problem = problem_of(work)
        if not isinstance(problem.rows, int) or problem.rows > MOST_ROWS:
            raise NoTactic(f"{problem.rows} rows; at most {MOST_ROWS} meet the weights in registers")
        refuse_unloadable(work, isa)
        found = [Tactic(self.name, c, _predict(work, problem, c, isa)) for c in _configs(problem)]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        config = tactic.config
        assert isinstance(config, RowsConfig), tactic.text()
        problem = problem_of(work)
        packed: list[PackedConstant] = []
        right = right_side(work, problem)
        if problem.right_constant:
            right, constant = packed_right(work, problem, config.columns, config.depth)
            packed.append(constant)
        kernel = _Kernel(work, problem, config, right)
        text = filled(_TEXT, kernel.pieces())
        arguments, words = kernel.parameters.arguments, kernel.parameters.words
        function = named("matmul_rows", text, arguments, warps=config.warps, stages=1, waits=True)
        step = Step(function.name, words, grid=(kernel.column_tiles * problem.batch_count,))
        return KernelImage({function.name: function}, frozenset(), (step,), tuple(packed))


# -- the space ------------------------------------------------------------------------------------------------
def _configs(problem: Problem) -> Iterator[RowsConfig]:
    sizes = cost.sizes_of(problem)
    deepest = max(128, 1 << (sizes.depth - 1).bit_length())
    widths = (1, 2, 4, 8, 16, 32, 64)
    for columns, depth, warps in itertools.product(widths, (128, 256, 512, 1024, 2048, 4096), (2, 4, 8)):
        each = columns * depth // (32 * warps)
        registers = each * (sizes.rows * problem_registers(problem) + 1)
        wide = each * problem.right_type.size_bytes >= _WIDEST_LOAD
        if depth <= deepest and wide and registers <= _MOST_REGISTERS and columns < 2 * sizes.columns:
            yield RowsConfig(columns, depth, warps)


def problem_registers(problem: Problem) -> int:
    """Of a sum."""
    return 2 if max(problem.left_type.bits, problem.right_type.bits) == 64 else 1


def _predict(work: Workload, problem: Problem, config: RowsConfig, gpu: Gpu) -> float:
    """Seconds: reading the weights with as many bytes on their way as there are, or multiplying, or waiting."""
    sizes, item = cost.sizes_of(problem), problem.right_type.size_bytes
    steps, tiles = -(-sizes.depth // config.depth), -(-sizes.columns // config.columns) * sizes.batch
    elements = tiles * config.columns * steps * config.depth
    resident = min(16, 2048 // (32 * config.warps), -(-tiles // gpu.processors))
    waves = -(-tiles // (gpu.processors * resident))
    on_their_way = resident * config.columns * config.depth * item * min(steps, 2)
    share = min(tiles, gpu.processors) / gpu.processors * min(1.0, on_their_way / _WANTED_BYTES)
    reading_s = elements * item / gpu.bytes_per_s / share
    multiplying_s = 2 * sizes.rows * elements / (0.35 * gpu.float_flops)
    adding_s = 0.05e-6 * config.warps * waves  # sums meet in the shared memory
    waiting_s = _STEP_S * (steps + 1) * waves
    return cost.LAUNCH_S + 0.5 * cost.FILL_S + max(reading_s, multiplying_s, waiting_s) + adding_s


# -- the text -------------------------------------------------------------------------------------------------
class _Kernel:
    """The text while it is put together."""

    def __init__(self, work: Workload, problem: Problem, config: RowsConfig, right: Side) -> None:
        self.work, self.problem, self.config = work, problem, config
        self.left, self.right, self.parameters = left_side(work, problem), right, Parameters()
        self.column_tiles: Dim = ceil_div(problem.columns, config.columns)
        dtype: DType = sum_dtype(self.left.dtype, self.right.dtype, product_dtype(work))
        self.sum = held_type(dtype)
        assert isinstance(problem.rows, int), "rows are few and known"
        self.rows = problem.rows
        self.fills = divides(config.depth, problem.depth) and (bounds(problem.depth)[0] or 0) > 0

    def pieces(self) -> dict[str, str]:
        problem, config, parameters = self.problem, self.config, self.parameters
        where, before, early, step, after = (Lines() for _ in range(5))
        indices = emit_batches(where, parameters, problem, parameters.size(self.column_tiles))
        where.line(f"column = tile * {config.columns} + tl.arange(0, {config.columns})")
        where.line(f"k_range = tl.arange(0, {config.depth})")
        columns_end = "" if divides(config.columns, problem.columns) else "column_inside"
        if columns_end:
            where.line(f"column_inside = column < {parameters.size(problem.columns)}")
        out_first = emit_first(where, parameters, "out_first", indices, tuple(b.out for b in problem.batches))
        finishes = [
            Finish(self.work, problem, parameters, Block(str(r), "column", "", "", "", columns_end, out_first), f"_{r}")
            for r in range(self.rows)
        ]  # fmt: skip
        first = finishes[0] if finishes else None
        if first:
            first.load_constants(before)
        self._emit_right(where, indices)
        load = before if self.right.constant else early
        load.line(f"weights = {self._weights('0')}")
        if first:
            first.load_shared(early)
        for finish in finishes[1:]:
            finish.share(first)  # type: ignore[arg-type]
        for row in range(self.rows):
            early.line(f"total{row} = tl.zeros(({config.columns}, {config.depth}), {self.sum})")
        self._emit_step(where, step, indices)
        for row, finish in enumerate(finishes):
            finish.store(after, f"tl.sum(total{row}, 1)")
        depth = parameters.size(problem.depth)
        last = f"({depth} - 1) // {config.depth} * {config.depth}"
        if isinstance(problem.depth, int):
            last = str((max(problem.depth, 1) - 1) // config.depth * config.depth)
        return {
            "where": str(where), "before": str(before), "early": str(early), "step": str(step), "after": str(after),
            "following": self._weights(f"k + {config.depth}"), "last": last, "depth": str(config.depth),
            "parameters": parameters.parameters,
        }  # fmt: skip

    def _emit_right(self, where: Lines, indices: tuple[str, ...]) -> None:
        side, parameters = self.right, self.parameters
        first = emit_first(where, parameters, "right_first", indices, side.batches)
        outer = scaled("column[:, None]", side.outer, parameters, side.reach)
        depth = scaled("k_range[None, :]", side.depth, parameters, side.reach)
        base = parameters.pointer("right_source", side.dtype, side.word)
        where.line(f"right_at = {base} + {first + ' + ' if first else ''}({outer} + {depth})")

    def _weights(self, k: str) -> str:
        side, problem = self.right, self.problem
        ends: list[str] = []
        if not side.whole:
            ends.append("" if divides(self.config.columns, problem.columns) else "column_inside[:, None]")
            if not self.fills:
                ends.append(f"({k} + k_range < {self.parameters.size(problem.depth)})[None, :]")
        step = self.parameters.size(side.depth)
        moved = "" if k == "0" else f" + ({k})" if step == "1" else f" + ({k}) * {step}"
        other = "0.0" if side.dtype.is_float else "0"
        return f"tl.load(right_at{moved}{guarded(*ends, other=other)})"

    def _emit_step(self, where: Lines, lines: Lines, indices: tuple[str, ...]) -> None:
        side, parameters = self.left, self.parameters
        first = emit_first(where, parameters, "left_first", indices, side.batches)
        base = parameters.pointer("left_source", side.dtype, side.word)
        at = scaled("(k + k_range)", side.depth, parameters, side.reach)
        end = "" if self.fills else "k_inside"
        if end:
            lines.line(f"k_inside = k + k_range < {parameters.size(self.problem.depth)}")
        lines.line(f"factors = weights.to({self.sum})")
        row_step = parameters.size(side.outer)
        guard = guarded(end, other="0.0" if side.dtype.is_float else "0")
        for row in range(self.rows):
            place = f"{base} + {first + ' + ' if first else ''}{f'{row} * {row_step} + ' if row else ''}{at}"
            lines.line(f"total{row} += factors * tl.load({place}{guard}).to({self.sum})[None, :]")


PROVIDERS = (CudaMatMulRows(),)
