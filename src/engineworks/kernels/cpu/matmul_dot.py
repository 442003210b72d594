"""Products of floats of a few rows with a matrix whose columns are contiguous: dot products, nothing is packed.

What packing would cost once for each call is as much as the product itself when few rows share it: q kᵀ of one query,
or a matrix times a vector, both known only at run time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, widened
from engineworks.codegen.llvm.tile import Store, TileOperand, store_tile
from engineworks.core import dtypes
from engineworks.core.dims import bounds, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cpu.matmul import multiplies_of
from engineworks.kernels.cpu.matmul_grid import sum_expression
from engineworks.kernels.cpu.matmul_problem import Problem, problem_of
from engineworks.kernels.cpu.pack import transposed
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Step, Tactic
from engineworks.kernels.workload import Workload

MOST_ROWS = 8


def dot_columns(
    f: Function,
    isa: Isa,
    left: str,
    right: str,
    depth: Size,
    column_bytes: Size,
    columns: Size,
    dtype: DType = dtypes.f32,
) -> str:
    """A vector: lane c is the dot product of `depth` floats at `left` with those at `right` + c * column_bytes.

    Args:
        columns: that exist from here on, at least one; lanes beyond them hold the last one again.
        dtype: of the floats; narrow ones are widened.
    """
    lanes = isa.lanes
    vector = f"<{lanes} x float>"
    last = f.sub(columns, 1)
    starts = [f.at(right, f.mul(f.smin(c, last), column_bytes)) for c in range(lanes)]
    sums = [f.variable(vector, "zeroinitializer") for _ in range(lanes)]

    def load(base: str, k: Size, mask: str | None) -> str:
        value = load_vector(f, lanes, dtype, f.at(base, f.mul(k, dtype.size_bytes)), mask)
        return widened(f, lanes, dtype, dtypes.f32, value)

    def step(k: Size, mask: str | None) -> None:
        x = load(left, k, mask)
        for start, total in zip(starts, sums, strict=True):
            y = load(start, k, mask)
            f.set(
                vector,
                total,
                f.call(
                    vector,
                    f"llvm.fma.v{lanes}f32",
                    f"{vector} {x}",
                    f"{vector} {y}",
                    f"{vector} {f.get(vector, total)}",
                ),
            )

    whole = f.mul(f.udiv(depth, lanes), lanes)
    with f.loop(0, whole, lanes) as k:
        step(k, None)
    rest = f.sub(depth, whole)
    if isinstance(rest, str):
        with f.when(f.compare("sgt", rest, 0)):
            step(whole, iota_below(f, lanes, rest))
    elif rest:
        step(whole, iota_below(f, lanes, rest))
    rows = transposed(f, lanes, [f.get(vector, total) for total in sums])
    while len(rows) > 1:
        rows = [f.value(f"fadd {vector} {a}, {b}") for a, b in zip(rows[::2], rows[1::2], strict=True)]
    return rows[0]


@dataclass(frozen=True, slots=True)
class DotConfig:
    """blocks: vectors of columns in one task."""

    blocks: int = 4


class CpuMatMulDot:
    """matmul of at most eight rows of f32, bf16 or f16 with a right side of that dtype whose depth is contiguous."""

    name = "cpu.matmul_dot"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem, _ = multiplies_of(work, isa)
        if problem.left_type is not problem.right_type or not problem.left_type.is_float:
            raise NoTactic(
                f"dot products are of floats of one dtype, not of {problem.left_type} by {problem.right_type}"
            )
        _, most = bounds(problem.rows)
        if most is None or not 0 < most <= MOST_ROWS:
            raise NoTactic(f"dot products are for at most {MOST_ROWS} rows; rows: {problem.rows}")
        if problem.left_depth != 1 or problem.right_depth != 1:
            raise NoTactic("the depth is not contiguous on both sides")
        if problem.right_constant:
            raise NoTactic("constant weights are packed at build")
        rows, columns, depth = (cost.typical(d) for d in (problem.rows, problem.columns, problem.depth))
        count = cost.typical(problem.batch_count) * rows * -(-columns // isa.lanes)
        cycles = count * (-(-depth // isa.lanes) * (isa.lanes + 1) / 2 + 70 + isa.lanes)
        traffic = float(problem.right_type.size_bytes) * cost.typical(problem.batch_count) * columns * depth
        seconds = max(cycles / cost.CORE.clock_hz, cost.bytes_s(traffic)) + cost.CORE.launch_s
        return [Tactic(self.name, DotConfig(), seconds)]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(tactic.config, DotConfig), tactic.text()
        kernel = _Kernel(work, problem_of(work), tactic.config, isa)
        with kernel.f.loop("%lo", "%hi") as task:
            kernel.task(task)
        symbol, text = finish(kernel.f, "matmul_dot")
        tasks = product([kernel.problem.batch_count, kernel.groups])
        return KernelImage(
            {symbol: text},
            frozenset(kernel.f.declarations),
            (Step(symbol, tuple(kernel.words.words), tasks),),
        )


class _Kernel:
    """Emission state; a task is a few blocks of columns of one batch."""

    def __init__(self, work: Workload, problem: Problem, config: DotConfig, isa: Isa) -> None:
        self.work, self.problem, self.config, self.isa = work, problem, config, isa
        self.f: Function = kernel_function()
        self.words = words = Words(self.f)
        self.kinds = work.epilogue.kinds if work.epilogue else ()
        self.left, self.right = (
            words.pointer(Input(problem.left_input)),
            words.pointer(Input(problem.right_input)),
        )
        self.target = words.pointer(Output(0))
        self.extra = [words.pointer(Input(work.anchor_inputs + k)) for k in range(len(self.kinds))]
        self.groups = ceil_div(problem.columns, isa.lanes * config.blocks)
        self.group_count, self.rows, self.columns, self.depth, self.out_row = map(
            words.size, (self.groups, problem.rows, problem.columns, problem.depth, problem.out_row)
        )
        size = problem.left_type.size_bytes
        self.left_bytes, self.column_bytes = (
            words.size(problem.left_row * size),
            words.size(problem.right_column * size),
        )
        self.steps = [
            tuple(map(words.size, (b.size, b.left * size, b.right * size, b.out))) for b in problem.batches
        ]
        self.expression = sum_expression(work, dtypes.f32)

    def task(self, task: str) -> None:
        f = self.f
        group, batch = f.urem(task, self.group_count), f.udiv(task, self.group_count)
        left: Size = 0
        right: Size = 0
        out: Size = 0
        for count, left_step, right_step, out_step in reversed(self.steps):
            index, batch = f.urem(batch, count), f.udiv(batch, count)
            left, right, out = (
                f.add(total, f.mul(index, step))
                for total, step in ((left, left_step), (right, right_step), (out, out_step))
            )
        span = self.isa.lanes * self.config.blocks
        first = f.mul(group, span)
        with (
            f.loop(first, f.smin(f.add(first, span), self.columns), self.isa.lanes) as column,
            f.loop(0, self.rows) as row,
        ):
            a = f.at(self.left, f.add(left, f.mul(row, self.left_bytes)))
            b = f.at(self.right, f.add(right, f.mul(column, self.column_bytes)))
            left_over = f.sub(self.columns, column)
            dtype = self.problem.left_type
            total = dot_columns(f, self.isa, a, b, self.depth, self.column_bytes, left_over, dtype)
            self._store(total, f.add(f.add(out, f.mul(row, self.out_row)), column), column, left_over)

    def _store(self, total: str, out: Size, column: Size, left: Size) -> None:
        f, dtype = self.f, self.work.outputs[0].dtype
        operands = []
        for named, pointer, operand in zip(
            self.kinds, self.extra, self.work.inputs[self.work.anchor_inputs :], strict=True
        ):
            assert operand is not None, "epilogue operands are never omitted"
            kind = "scalar" if operand.type.count == 1 else named
            offset = {"full": out, "channel": column, "scalar": 0}[kind]
            operands.append(
                TileOperand(
                    kind, operand.type.dtype, f.at(pointer, f.mul(offset, operand.type.dtype.size_bytes))
                )
            )
        store = Store(
            f.at(self.target, f.mul(out, dtype.size_bytes)),
            (0,),
            dtype,
            left,
            self.expression,
            tuple(operands),
        )
        store_tile(f, self.isa, [[total]], store)


PROVIDERS = (CpuMatMulDot(),)
