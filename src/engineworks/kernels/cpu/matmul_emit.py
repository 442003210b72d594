"""The matmul kernel: tasks are tiles of (batch, panel of columns, group of rows)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import load_vector
from engineworks.codegen.llvm.tile import (
    CACHE_LINE,
    Segment,
    Store,
    Tile,
    TileOperand,
    accumulate,
    by_columns,
    column_mask,
    store_tile,
)
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.kernels.cpu.matmul_problem import Batch, Problem
from engineworks.kernels.cpu.matmul_rows import row_tiles
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import Input, Output, Step, Word
from engineworks.kernels.workload import Workload

RESULT = Output(0)
RightForm = Literal["constant", "packed", "direct"]
LeftForm = Literal["direct", "padded"]


@dataclass(frozen=True, slots=True)
class MatMulConfig:
    """How one matmul is tiled.

    Attributes:
        rows, vectors: the register tile.
        unroll: k steps a turn.
        block: row tiles taken through all panels before the next ones; 0: all rows for each panel in turn.
        right: 'constant' packed at build, 'packed' by a step at run time, 'direct' read where it lies.
        left: 'direct', or 'padded': copied with rows that do not lie a power of two apart.
        chains: sums that unrolled k steps go to in turn (few rows).
        prefetch: cache lines of the next panel that each turn of the k loop fetches: the tiles of one panel share
            the work of bringing in the next one.
        ahead: instead, fetch the same panel so many bytes ahead: a few rows only wait for memory.
        depth_block: k steps of one launch; the sums wait in a workspace between launches. 0: all in one.
    """

    rows: int
    vectors: int
    unroll: int = 4
    block: int = 0
    right: RightForm = "constant"
    left: LeftForm = "direct"
    chains: int = 1
    prefetch: int = 0
    ahead: int = 0
    depth_block: int = 0


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the operands are and how they step, after packing: elements, or for a packed right side panels.

    `right_panel`: elements from panel to panel; `right_step`: elements from k row to k row. `out` and `extra`: the
    output and the epilogue's operands, where they are not the workload's own.
    """

    left: Word
    right: Word
    left_row: Dim
    left_depth: Dim
    right_panel: Dim
    right_step: Dim
    batches: tuple[Batch, ...]
    out: Word = RESULT
    extra: tuple[Word, ...] | None = None


@dataclass(frozen=True, slots=True)
class Partial:
    """Sums between the launches of a product whose depth is taken in blocks.

    Attributes:
        word: f32 [batch][row][column up to whole panels].
        starts, ends: whether the launch begins with zeros, and whether it ends with the epilogue.
    """

    word: Word
    starts: bool
    ends: bool


Emitted = tuple[str, str, frozenset[str], Step]
"""Symbol, definition, declarations, and the launch."""


def emit_matmul(
    work: Workload,
    problem: Problem,
    sides: Sides,
    config: MatMulConfig,
    isa: Isa,
    partial: Partial | None = None,
) -> Emitted:
    """The multiplying kernel."""
    kernel = _Kernel(work, problem, sides, config, isa, partial)
    kernel.emit()
    symbol, text = finish(kernel.f, "matmul")
    tasks = product([problem.batch_count, kernel.panels, kernel.tiling.count])
    return symbol, text, frozenset(kernel.f.declarations), Step(symbol, tuple(kernel.words.words), tasks)


class _Kernel:
    """Emission state: sizes and pointers loaded in the entry block."""

    def __init__(
        self,
        work: Workload,
        problem: Problem,
        sides: Sides,
        config: MatMulConfig,
        isa: Isa,
        partial: Partial | None,
    ) -> None:
        self.work, self.problem, self.sides, self.config, self.isa = work, problem, sides, config, isa
        self.partial = partial
        self.f: Function = kernel_function()
        self.words = Words(self.f)
        self.width = config.vectors * isa.lanes
        self.panels = ceil_div(problem.columns, self.width)
        self.tiling = row_tiles(problem.rows, config.rows)
        self.out = work.outputs[0].dtype
        size = self.words.size
        self.left, self.right = self.words.pointer(sides.left), self.words.pointer(sides.right)
        self.target = self.words.pointer(sides.out)
        own = [Input(work.anchor_inputs + k) for k in range(len(self._kinds()))]
        self.extra = [self.words.pointer(word) for word in (own if sides.extra is None else sides.extra)]
        self.sums = self.words.pointer(partial.word) if partial else ""
        self.sums_row = size(self.panels * self.width)
        self.row_bytes = size(sides.left_row * 4)
        self.depth_bytes = size(sides.left_depth * 4)
        self.panel_bytes = size(sides.right_panel * 4)
        self.step_bytes = size(sides.right_step * 4)
        self.out_row, self.rows, self.columns, self.depth = map(
            size, (problem.out_row, problem.rows, problem.columns, problem.depth)
        )
        self.panel_count, self.tile_count = size(self.panels), size(self.tiling.count)
        self.steps = [(size(b.size), size(b.left * 4), size(b.right * 4), size(b.out)) for b in sides.batches]

    def _kinds(self) -> tuple[str, ...]:
        return self.work.epilogue.kinds if self.work.epilogue else ()

    def emit(self) -> None:
        with self.f.loop("%lo", "%hi") as task:
            self._task(task)

    def _task(self, task: str) -> None:
        """Find the tile of a task: batch outermost, then blocks of row tiles, panels, row tiles."""
        f = self.f
        per_batch = f.mul(self.panel_count, self.tile_count)
        batch: Size = f.udiv(task, per_batch) if self.steps else 0
        within: Size = f.urem(task, per_batch) if self.steps else task
        panel, tile = self._order(within)
        left, right, out = self._batch_offsets(batch)
        column = f.mul(panel, self.width)
        b = f.at(self.right, f.add(right, f.mul(panel, self.panel_bytes)))
        self.soon = self._next_panel(b, tile)
        self.sums_base = f.add(f.mul(batch, f.mul(self.rows, self.sums_row)), column)
        self._rows(tile, f.at(self.left, left), b, f.add(out, column), column)

    def _next_panel(self, b: str, tile: Size) -> tuple[str, int] | None:
        """What the k loop fetches ahead: this tile's part of the next panel, or further on in this one."""
        f, config = self.f, self.config
        if config.ahead:
            return f.at(b, config.ahead), config.unroll * self.width * 4 // CACHE_LINE
        if not config.prefetch:
            return None
        turns = f.udiv(self.depth, config.unroll)
        part = f.mul(turns, config.prefetch * CACHE_LINE)
        return f.at(b, f.add(self.panel_bytes, f.mul(tile, part))), config.prefetch

    def _order(self, within: Size) -> tuple[Size, Size]:
        f, block = self.f, self.config.block
        if not block:
            return f.udiv(within, self.tile_count), f.urem(within, self.tile_count)
        whole = f.mul(self.panel_count, block)
        first = f.mul(f.udiv(within, whole), block)
        rest = f.urem(within, whole)
        tiles = f.smin(f.sub(self.tile_count, first), block)
        return f.udiv(rest, tiles), f.add(first, f.urem(rest, tiles))

    def _batch_offsets(self, batch: Size) -> tuple[Size, Size, Size]:
        """Bytes in left, bytes in right, elements in the output."""
        f = self.f
        left: Size = 0
        right: Size = 0
        out: Size = 0
        for count, left_step, right_step, out_step in reversed(self.steps):
            index = f.urem(batch, count)
            batch = f.udiv(batch, count)
            left = f.add(left, f.mul(index, left_step))
            right = f.add(right, f.mul(index, right_step))
            out = f.add(out, f.mul(index, out_step))
        return left, right, out

    def _rows(self, tile: Size, a: str, b: str, out: Size, column: Size) -> None:
        f = self.f

        def variant(size: int, row: Size) -> None:
            self.sums_at = f.add(self.sums_base, f.mul(row, self.sums_row))
            self._tile(
                size, f.at(a, f.mul(row, self.row_bytes)), b, f.add(out, f.mul(row, self.out_row)), column
            )

        self.tiling.emit(f, tile, self.rows, variant)

    def _tile(self, rows: int, a: str, b: str, out: Size, column: Size) -> None:
        f, config, problem = self.f, self.config, self.problem
        left = f.sub(self.columns, column)
        masks: tuple[str | None, ...] = ()
        packed = config.right != "direct"
        if not packed and not (isinstance(problem.columns, int) and problem.columns % self.width == 0):
            masks = tuple(column_mask(f, self.isa.lanes, left, j) for j in range(config.vectors))
        segment = Segment(tuple(range(rows)), ((self.depth, self.depth_bytes, 1),))
        tile = Tile(
            tuple(f.mul(r, self.row_bytes) for r in range(rows)),
            config.vectors,
            (segment,),
            self.step_bytes,
            config.unroll,
            self._chains(rows),
            masks,
            self.isa.lanes * 4 if packed else 4,
            self.soon,
        )
        sums = accumulate(f, self.isa, tile, a, b, self._earlier_sums(rows))
        if self.partial and not self.partial.ends:
            at = f.at(self.sums, f.mul(self.sums_at, 4))
            store_tile(f, self.isa, sums, Store(at, tuple(f.mul(r, self.sums_row) for r in range(rows))))
            return
        by_columns(
            f,
            self.width,
            left,
            self.columns,
            lambda columns: self._store(sums, rows, out, column, columns),
        )

    def _earlier_sums(self, rows: int) -> list[list[str]] | None:
        """What earlier launches left for this tile."""
        if self.partial is None or self.partial.starts:
            return None
        f, lanes = self.f, self.isa.lanes
        at = f.at(self.sums, f.mul(self.sums_at, 4))
        return [
            [
                load_vector(
                    f, lanes, dtypes.f32, f.at(at, f.mul(f.add(f.mul(r, self.sums_row), j * lanes), 4))
                )
                for j in range(self.config.vectors)
            ]
            for r in range(rows)
        ]

    def _chains(self, rows: int) -> int:
        """Few sums wait for each other: about ten in flight keep the multipliers busy."""
        chains = self.config.chains
        while chains * rows * self.config.vectors > self.isa.registers - self.config.vectors - 2:
            chains //= 2
        return max(chains, 1)

    def _store(self, sums: list[list[str]], rows: int, out: Size, column: Size, columns: Size | None) -> None:
        f, epilogue = self.f, self.work.epilogue
        operands = []
        for named, pointer, operand in zip(
            self._kinds(), self.extra, self.work.inputs[self.work.anchor_inputs :], strict=True
        ):
            assert operand is not None, "epilogue operands are never omitted"
            kind = (
                "scalar" if operand.type.count == 1 else named
            )  # a channel axis of one element is not our columns
            offset = {"full": out, "channel": column, "scalar": 0}[kind]
            at = f.at(pointer, f.mul(offset, operand.type.dtype.size_bytes))
            operands.append(TileOperand(kind, operand.type.dtype, at))  # type: ignore[arg-type]
        store = Store(
            f.at(self.target, f.mul(out, self.out.size_bytes)), tuple(f.mul(r, self.out_row) for r in range(rows)),
            self.out, columns, epilogue.expression if epilogue else None, tuple(operands),
        )  # fmt: skip
        store_tile(f, self.isa, sums, store)
