"""f32 matrix products by register tiles, with the pointwise work after them done in registers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.tile import CACHE_LINE
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cpu.copy_rows import RowSource, emit_row_copy
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul_emit import MatMulConfig, Partial, RightForm, emit_matmul
from engineworks.kernels.cpu.matmul_grid import Sides
from engineworks.kernels.cpu.matmul_problem import Batch, Problem, problem_of
from engineworks.kernels.cpu.matmul_rows import row_tiles
from engineworks.kernels.cpu.pack import PackSource, emit_pack, packed_constant
from engineworks.kernels.tactic import (
    Effort,
    Input,
    KernelImage,
    Packed,
    Tactic,
    Word,
    Workspace,
)
from engineworks.kernels.workload import Workload, input_type

CANDIDATES = (1, 2, 4, 8, 16, 1000)
"""How many candidates each effort gets."""
_TILES = {
    16: ((6, 4), (8, 3), (14, 2), (12, 2), (9, 3), (4, 4), (12, 1)),
    8: ((6, 2), (4, 3), (5, 2), (12, 1), (4, 2)),
}
"""(rows, vectors) by lanes: sums + one k row of B + a broadcast fit the register file."""
FEW_ROWS = 5
"""Up to here all rows fit one tile, and the product is bound by reading the right side."""
DEPTH_BLOCK = 768
"""k steps that one launch takes when the depth is blocked."""
MOST_TILES_TO_PREFETCH = 64
PAD = 16
"""Elements that keep copied rows from lying a power of two apart: one cache line."""


class CpuMatMul:
    """f32 matmul, any layouts, batches and sizes."""

    name = "cpu.matmul"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        require_f32_matmul(work)
        problem = problem_of(work)
        found = [Tactic(self.name, c, predict(problem, c, isa)) for c in _configs(problem, isa)]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        return build_matmul(work, tactic, isa)


def build_matmul(work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
    """The image of a MatMulConfig."""
    assert isinstance(tactic.config, MatMulConfig), tactic.text()
    return _Image(work, problem_of(work), tactic.config, isa).build()


def require_f32_matmul(work: Workload) -> None:
    """Raise NoTactic unless the anchor is a matmul of f32 operands."""
    if work.anchor is None or work.anchor.name != "matmul":
        raise NoTactic("not a matmul")
    for operand in work.inputs[:2]:
        if operand is None or operand.type.dtype is not dtypes.f32:
            raise NoTactic("operands are not f32; the generic matmul computes them")


# -- the space ------------------------------------------------------------------------------------------------
def _configs(problem: Problem, isa: Isa) -> Iterator[MatMulConfig]:
    lanes = isa.lanes
    for rows, vectors in _tiles(problem, lanes):
        if isinstance(problem.columns, int) and vectors > 1 and (vectors - 1) * lanes >= problem.columns:
            continue
        chains = 4 if rows * vectors <= 4 else 2 if rows * vectors <= 8 else 1
        base = MatMulConfig(rows, vectors, chains=chains)
        for form in _right_forms(problem):
            plain = _with_prefetch(problem, replace(base, right=form), lanes)
            yield plain
            if cost.typical(problem.rows) > 16 * rows and cost.typical(problem.columns) > vectors * lanes:
                yield replace(plain, block=8)
            if form == "constant" and _can_block_depth(problem):
                yield replace(plain, depth_block=_balanced(problem.depth, DEPTH_BLOCK))
            if _rows_collide(problem.left_row, rows) and _can_pad(problem):
                yield replace(plain, left="padded")


def _with_prefetch(problem: Problem, config: MatMulConfig, lanes: int) -> MatMulConfig:
    """With few row tiles for each panel, bringing in the next panel takes a part of the time worth hiding."""
    tiles = max(-(-cost.typical(problem.rows) // config.rows), 1)
    if (
        config.right == "direct"
        or tiles > MOST_TILES_TO_PREFETCH
        or problem.columns == config.vectors * lanes
    ):
        return config
    turn_bytes = config.unroll * config.vectors * lanes * 4
    return replace(config, prefetch=-(-turn_bytes // (tiles * CACHE_LINE)))


def _balanced(depth: Dim, most: int) -> int:
    assert isinstance(depth, int)
    blocks = -(-depth // most)
    return -(-depth // blocks // 4) * 4


def _can_block_depth(problem: Problem) -> bool:
    if not isinstance(problem.depth, int) or not isinstance(problem.left_depth, int):
        return False
    return problem.depth >= 2 * DEPTH_BLOCK


def _tiles(problem: Problem, lanes: int) -> Iterator[tuple[int, int]]:
    """The tiles that suit the number of rows; rows at unknown strides need an address register each."""
    static_rows = isinstance(problem.left_row, int)
    most = problem.rows if isinstance(problem.rows, int) else None
    if most is not None and most <= FEW_ROWS:
        for vectors in (2, 4, 1) if lanes == 16 else (4, 2, 1):
            yield max(most, 1), vectors
        return
    for rows, vectors in _TILES[lanes]:
        if (static_rows or rows <= 6) and (most is None or rows <= most):
            yield rows, vectors


def _right_forms(problem: Problem) -> tuple[RightForm, ...]:
    if problem.right_constant:
        return ("constant",)
    if problem.right_column != 1 and problem.columns != 1:
        return ("packed",)
    return ("packed", "direct")


def _rows_collide(row_stride: Dim, rows: int) -> bool:
    """Whether a tile's rows crowd few sets of the first cache: 64 sets of 64 bytes, so addresses repeat at 4096, and
    at least eight ways.
    """
    if not isinstance(row_stride, int) or row_stride == 0:
        return False
    step = row_stride * 4
    return step % 1024 == 0 and rows > 8 * (4096 // min(step & -step, 4096))


def _can_pad(problem: Problem) -> bool:
    return (
        problem.left_depth == 1
        and isinstance(problem.depth, int)
        and not any(b.left != 0 for b in problem.batches)
    )


# -- prediction -----------------------------------------------------------------------------------------------
def predict(problem: Problem, config: MatMulConfig, isa: Isa) -> float:
    """Seconds on one thread: multiplying by tiles, traffic that the second cache cannot hold, packing, launches."""
    rows, columns, depth = (cost.typical(d) for d in (problem.rows, problem.columns, problem.depth))
    batches = cost.typical(problem.batch_count)
    width = config.vectors * isa.lanes
    panels = -(-columns // width)
    tiling = row_tiles(rows, config.rows)
    cycles = sum(
        count * (cost.tile_cycles(size, config.vectors, config.chains) * depth + 40 + 2 * size)
        for size, count in tiling.split
    )
    if config.left == "direct" and _rows_collide(problem.left_row, config.rows):
        cycles *= 1.15
    multiply = cycles * panels * batches / cost.CORE.clock_hz
    right_copies = cost.typical(product(b.size for b in problem.right_batches))
    left, right, out = 4 * rows * depth, 4 * depth * columns, 4 * rows * columns
    left_reads, right_reads = _reads(
        config, cost.typical(tiling.count), panels, depth, left, right, width * 4 * depth
    )
    traffic = batches * (left * left_reads + 2 * out) + right_copies * right * right_reads
    seconds = cost.overlapped_s(multiply, traffic, hidden=config.prefetch > 0 or config.ahead > 0)
    blocks = -(-depth // config.depth_block) if config.depth_block else 1
    seconds += blocks * cost.CORE.launch_s + (blocks - 1) * 2 * batches * out / cost.CORE.near_bytes_per_s
    if config.right == "packed":
        seconds += cost.CORE.launch_s + 3 * right_copies * right / cost.CORE.near_bytes_per_s
    elif config.right == "direct" and panels > 1:
        seconds *= 1.1  # rows of B lie apart: each k step may miss the TLB and the prefetcher
    if config.left == "padded":
        seconds += cost.CORE.launch_s + 2 * left / cost.CORE.far_bytes_per_s
    return seconds


def _reads(
    config: MatMulConfig, tiles: int, panels: int, depth: int, left: int, right: int, panel: int
) -> tuple[int, int]:
    """How often the left and the right side come from beyond the second cache."""
    near = cost.CORE.near_bytes
    if not config.block:
        part = config.depth_block / depth if config.depth_block else 1.0
        return (1 if (left + 2 * panel) * part <= near else panels), 1
    blocks = -(-tiles // config.block)
    return 1, (1 if right + left // max(blocks, 1) <= near else blocks)


# -- the image ------------------------------------------------------------------------------------------------
class _Image:
    """One tactic's image while it is put together."""

    def __init__(self, work: Workload, problem: Problem, config: MatMulConfig, isa: Isa) -> None:
        self.work, self.problem, self.config, self.isa = work, problem, config, isa
        self.width = config.vectors * isa.lanes
        self.parts = ImageParts()

    def build(self) -> KernelImage:
        sides = self._right(self._left())
        if self.config.depth_block:
            self._multiply_by_depth(sides)
        else:
            self.parts.add(*emit_matmul(self.work, self.problem, sides, self.config, self.isa))
        return self.parts.image()

    def _multiply_by_depth(self, sides: Sides) -> None:
        """One launch for each block of the depth: blocks of the left side then stay in the second cache."""
        problem, config = self.problem, self.config
        assert isinstance(problem.depth, int) and isinstance(sides.left_depth, int), (
            "blocks of the depth are static"
        )
        columns = ceil_div(problem.columns, self.width) * self.width
        sums = self.parts.buffer(problem.batch_count * problem.rows * columns * 4)
        for start in range(0, problem.depth, config.depth_block):
            count = min(config.depth_block, problem.depth - start)
            part = replace(
                sides,
                left=_shifted(sides.left, start * sides.left_depth * 4),
                right=_shifted(sides.right, start * self.width * 4),
            )
            partial = Partial(sums, starts=start == 0, ends=start + count == problem.depth)
            self.parts.add(
                *emit_matmul(self.work, replace(problem, depth=count), part, config, self.isa, partial)
            )

    def _left(self) -> Sides:
        """The left side, and the right side still where it lies."""
        problem = self.problem
        placed = left_in_place(problem)
        if self.config.left == "padded":
            placed = copied_left(self.parts, self.work, problem, dtypes.f32, self.isa)
        return Sides(
            placed.word,
            Input(problem.right_input),
            placed.row,
            placed.depth,
            self.width,
            problem.right_depth,
            placed.batches,
        )

    def _right(self, sides: Sides) -> Sides:
        problem, config = self.problem, self.config
        if config.right == "direct":
            return sides
        panels = ceil_div(problem.columns, self.width)
        if config.right == "constant":
            swapped = problem.right_input == 0
            right = self.parts.constant(packed_constant(problem.right_input, self.width, transposed=swapped))
            panel: Dim = problem.depth * self.width
            return replace(
                sides,
                right=right,
                right_panel=panel,
                right_step=self.width,
                batches=dense_right(sides.batches, panel * panels),
            )
        target = Workspace(len(self.parts.workspace))
        made = emit_pack(right_source(self.work, problem), target, self.width, self.isa)
        self.parts.buffer(made.size_bytes)
        self.parts.add(made.symbol, made.text, made.declarations, made.step)
        return replace(
            sides,
            right=target,
            right_panel=made.panel,
            right_step=self.width,
            batches=dense_right(sides.batches, made.matrix),
        )


def _shifted(word: Word, size_bytes: int) -> Word:
    """The address `size_bytes` further on."""
    assert isinstance(word, Input | Packed | Workspace), "operands have addresses"
    return replace(word, offset=word.offset + size_bytes)


@dataclass(frozen=True, slots=True)
class PlacedLeft:
    """Where the left side lies: elements from row to row and along the depth, and the batch axes with its steps."""

    word: Word
    row: Dim
    depth: Dim
    batches: tuple[Batch, ...]


def left_in_place(problem: Problem) -> PlacedLeft:
    """The left side where the workload has it."""
    return PlacedLeft(Input(problem.left_input), problem.left_row, problem.left_depth, problem.batches)


def copied_left(parts: ImageParts, work: Workload, problem: Problem, dtype: DType, isa: Isa) -> PlacedLeft:
    """Add a step that copies the left side to rows of `dtype` that do not lie a power of two apart."""
    stride = ceil_div(problem.depth, 16) * 16 + PAD
    target = Workspace(len(parts.workspace))
    differ = tuple((b.size, b.left) for b in problem.batches if b.left != 0)
    source = RowSource(
        Input(problem.left_input), problem.rows, problem.depth, problem.left_row, problem.left_depth,
        input_type(work, problem.left_input).dtype, differ,
    )  # fmt: skip
    parts.buffer(product([*(size for size, _ in differ), problem.rows]) * stride * dtype.size_bytes)
    parts.add(*emit_row_copy(source, target, dtype, stride, isa))
    batches: list[Batch] = []
    step = problem.rows * stride
    for axis in reversed(problem.batches):
        batches.insert(0, axis if axis.left == 0 else replace(axis, left=step))
        step = step if axis.left == 0 else step * axis.size
    return PlacedLeft(target, stride, 1, tuple(batches))


def right_source(work: Workload, problem: Problem) -> PackSource:
    """The right operand as a packing step reads it."""
    return PackSource(
        Input(problem.right_input),
        problem.depth,
        problem.columns,
        problem.right_depth,
        problem.right_column,
        tuple((b.size, b.right) for b in problem.right_batches),
        input_type(work, problem.right_input).dtype,
    )


def dense_right(batches: tuple[Batch, ...], matrix: Dim) -> tuple[Batch, ...]:
    """The batch axes with the right operand's packed matrices one after another."""
    out: list[Batch] = []
    step = matrix
    for axis in reversed(batches):
        if axis.right == 0:
            out.append(axis)
            continue
        out.append(replace(axis, right=step))
        step = step * axis.size
    return tuple(reversed(out))


PROVIDERS = (CpuMatMul(),)
