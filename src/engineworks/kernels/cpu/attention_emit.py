"""The attention kernel: a task is a group of query rows of one head; scores live in thread-private scratch only.

For each block of keys and each tile of rows: scores = q kᵀ * scale + mask (keys packed in panels, running maxima on the
way), then e = exp(scores - maximum) row by row, then e v. With several blocks of keys the result is rescaled whenever a
maximum grows (online softmax, Milakov and Gimelshein 2018), so sequences of any length need the same scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.amx import TILE_BYTES
from engineworks.codegen.llvm.function import Function, Isa, Size, f32_constant
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.kernels.cpu.attention_problem import AttentionProblem, Matrix
from engineworks.kernels.cpu.attention_rows import RowTile
from engineworks.kernels.cpu.attention_tiles import TileRows
from engineworks.kernels.cpu.matmul_rows import row_tiles
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import Step

_SPREAD = 16
"""Elements between the ends of score rows, so that rows do not lie a power of two apart."""


AttentionForm = Literal["f32", "rows", "bf16_dot", "tiles"]


@dataclass(frozen=True, slots=True)
class AttentionConfig:
    """How attention is tiled.

    Attributes:
        rows, vectors: the register tile of both products.
        keys: of one block; a multiple of the tile's columns.
        group: row tiles of one task; they share each block of keys while it is near.
        dot: a few queries: scores are dot products with the keys where they lie, which are not packed. `vectors` is 1.
        value_vectors: registers across the values' columns; 0: as `vectors`.
        pack_values: values are copied to panels first, where their rows lie far apart.
        form: 'f32': operands are read, or packed, as f32. 'rows': narrow ones are widened where they lie (with `dot`).
            'bf16_dot', 'tiles': bf16 products by vdpbf16ps or AMX tiles; the weights are rounded to bf16.
    """

    rows: int
    vectors: int = 2
    keys: int = 512
    group: int = 1
    dot: bool = False
    value_vectors: int = 0
    pack_values: bool = False
    form: AttentionForm = "f32"

    @property
    def across_values(self) -> int:
        return self.value_vectors or self.vectors


@dataclass(frozen=True, slots=True)
class Scratch:
    """Byte offsets of the thread's scratch: scores [rows][stride], and for each row of a group a vector of maxima,
    the maximum, the sum of exponentials, and the unscaled result. `ends`: of the queries' rows, for tiles.
    """

    stride: int
    peaks: int
    maxima: int
    sums: int
    results: int
    result_row: int
    ends: int
    size_bytes: int


def scratch_of(problem: AttentionProblem, config: AttentionConfig, isa: Isa) -> Scratch:
    """The layout; the results are there only when keys come in several blocks."""
    stride = (config.keys + _SPREAD) * 4
    grouped = config.rows * config.group
    vector = isa.lanes * 4
    peaks = _aligned(config.rows * stride)
    maxima = peaks + config.rows * vector
    sums = _aligned(maxima + grouped * 4)
    results = _aligned(sums + grouped * 4)
    tiles = config.form == "tiles"
    width = config.across_values * isa.lanes
    result_row = 0
    if tiles or several_blocks(problem, config):
        result_row = (
            -(-problem.value_width // width) * width * 4 if tiles else _aligned(problem.value_width * 4)
        )
    ends = results + grouped * result_row
    size = ends + (config.rows * TILE_BYTES if tiles else 0)
    return Scratch(stride, peaks, maxima, sums, results, result_row, ends, size)


def several_blocks(problem: AttentionProblem, config: AttentionConfig) -> bool:
    """Whether results are carried from one block of keys to the next."""
    return not isinstance(problem.keys, int) or problem.keys > config.keys


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def emit_attention(
    problem: AttentionProblem, config: AttentionConfig, isa: Isa
) -> tuple[str, str, frozenset[str], Step]:
    """(symbol, definition, declarations, the launch)."""
    kernel = AttentionKernel(problem, config, isa)
    if config.form == "tiles":
        kernel.configured = kernel.f.variable("i64", -1)
    with kernel.f.loop("%lo", "%hi") as task:
        kernel.task(task)
    if config.form == "tiles":
        amx.release(kernel.f)
    symbol, text = finish(kernel.f, "attention")
    tasks = product([*(b for b in problem.batch), problem.heads, kernel.group_count])
    return symbol, text, frozenset(kernel.f.declarations), Step(symbol, tuple(kernel.words.words), tasks)


class AttentionKernel:
    """Emission state."""

    def __init__(self, problem: AttentionProblem, config: AttentionConfig, isa: Isa) -> None:
        self.problem, self.config, self.isa = problem, config, isa
        self.lanes, self.width = isa.lanes, config.vectors * isa.lanes
        self.value_width = config.across_values * isa.lanes
        self.f: Function = kernel_function()
        self.words = words = Words(self.f)
        self.scratch = scratch_of(problem, config, isa)
        self.online = several_blocks(problem, config)
        self.tiling = row_tiles(problem.queries, config.rows)
        self.group_count: Dim = ceil_div(self.tiling.count, config.group)
        self.operands = {n: _Bound(words, m) for n, m in problem.matrices().items()}
        self.queries, self.keys, self.depth = map(words.size, (problem.queries, problem.keys, problem.depth))
        self.batch, self.heads = [words.size(b) for b in problem.batch], words.size(problem.heads)
        self.groups, self.tiles = words.size(self.group_count), words.size(self.tiling.count)
        self.past = words.size(problem.past)
        self.configured = ""

    def row_tile(self, rows: int, row: Size, slot: Size) -> RowTile:
        """`rows` query rows from `row` on, at `slot` of the group's scratch."""
        return (TileRows if self.config.form == "tiles" else RowTile)(self, rows, row, slot)

    # -- control ----------------------------------------------------------------------------------------------
    def task(self, task: str) -> None:
        f, config = self.f, self.config
        group, rest = f.urem(task, self.groups), f.udiv(task, self.groups)
        head, rest = f.urem(rest, self.heads), f.udiv(rest, self.heads)
        index: list[Size] = []
        for size in reversed(self.batch):
            index.insert(0, f.urem(rest, size))
            rest = f.udiv(rest, size)
        self.base = {
            n: o.at(f, index, f.udiv(head, self.problem.sharing if n in ("keys", "values") else 1))
            for n, o in self.operands.items()
        }
        first = f.mul(group, config.group)
        last = f.smin(f.add(first, config.group), self.tiles)
        if not self.online:
            with f.loop(first, last) as tile:
                self.tiling.emit(f, tile, self.queries, self._whole)
            return
        self._blocks(first, last)

    def _whole(self, rows: int, row: Size) -> None:
        """One tile of rows against all keys."""
        tile = self.row_tile(rows, row, 0)
        tile.scores(0, self._limit(row, rows))
        tile.weights(first=True)
        tile.results(0, carried=False)

    def _blocks(self, first: Size, last: Size) -> None:
        """Keys block by block, all row tiles of the group for each."""
        f, config = self.f, self.config
        if self.tiling.split:
            (size, count), *_ = self.tiling.split
            other = self.tiling.split[-1][0]
            before = f.add(f.mul(first, other), f.mul(f.smin(first, count), size - other))
        else:
            before = f.mul(first, config.rows)
        self._clear()
        with f.loop(0, self.keys, config.keys) as block, f.loop(first, last) as number:

            def part(size: int, row: Size) -> None:
                limit = self._limit(row, size)
                with f.when(f.compare("slt", block, limit)):
                    tile = self.row_tile(size, row, f.sub(row, before))
                    tile.scores(block, f.smin(f.sub(limit, block), config.keys))
                    tile.weights(first=False)
                    tile.results(block, carried=True)

            self.tiling.emit(f, number, self.queries, part)
        with f.loop(first, last) as number:
            self.tiling.emit(
                f,
                number,
                self.queries,
                lambda size, row: self.row_tile(size, row, f.sub(row, before)).finish(),
            )

    def _clear(self) -> None:
        """No maximum, no sum, no result yet."""
        f, scratch = self.f, self.scratch
        rows = self.config.rows * self.config.group
        with f.loop(0, rows) as row:
            highest = f.at("%scratch", f.add(scratch.maxima, f.mul(row, 4)))
            f.line(f"store float {f32_constant(float('-inf'))}, ptr {highest}")
            f.line(f"store float 0.0, ptr {f.at('%scratch', f.add(scratch.sums, f.mul(row, 4)))}")
        with f.loop(0, rows * scratch.result_row, self.lanes * 4) as at:
            pointer = f.at("%scratch", f.add(scratch.results, at))
            f.line(f"store <{self.lanes} x float> zeroinitializer, ptr {pointer}, align 4")

    def _limit(self, row: Size, rows: int) -> Size:
        """How many keys some row of the tile may see."""
        if not self.problem.causal:
            return self.keys
        return self.f.smin(self.keys, self.f.add(self.f.add(self.past, row), rows))


class _Bound:
    """A matrix's words: pointer and strides in bytes."""

    def __init__(self, words: Words, matrix: Matrix) -> None:
        self.pointer = words.pointer(matrix.word)
        self.dtype = matrix.dtype
        size = matrix.dtype.size_bytes
        self.batch = [words.size(s * size) for s in matrix.batch]
        self.head, self.row, self.column = (
            words.size(s * size) for s in (matrix.head, matrix.row, matrix.column)
        )
        self.panel = words.size(matrix.panel * size)

    def at(self, f: Function, index: list[Size], head: Size) -> str:
        offset = f.mul(head, self.head)
        for i, stride in zip(index, self.batch, strict=True):
            offset = f.add(offset, f.mul(i, stride))
        return f.at(self.pointer, offset)
