"""The matmul kernel of register tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.loads import load_vector
from engineworks.codegen.llvm.multiply import F32, Form, Multiply
from engineworks.codegen.llvm.tile import (
    CACHE_LINE,
    Segment,
    Store,
    Tile,
    accumulate,
    by_columns,
    column_mask,
    store_tile,
)
from engineworks.core import dtypes
from engineworks.kernels.cpu.matmul_grid import Elements, Emitted, Grid, MatMulKernel, Sides
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cpu.matmul_rows import row_tiles
from engineworks.kernels.tactic import Word
from engineworks.kernels.workload import Workload

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
        form: how a k group is multiplied (`codegen.llvm.multiply`). A is copied to the dtype it reads.
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
    form: Form = "f32"


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


def emit_matmul(
    work: Workload,
    problem: Problem,
    sides: Sides,
    config: MatMulConfig,
    isa: Isa,
    partial: Partial | None = None,
    *,
    multiply: Multiply = F32,
    start: Word | None = None,
) -> Emitted:
    """The multiplying kernel.

    `start`: i32 [batch of the right side][panel][width] that the sums begin with (`Multiply.flips_left`).
    """
    return _Kernel(work, problem, sides, config, isa, partial, multiply, start).emit()


class _Kernel(MatMulKernel):
    """Emission state."""

    def __init__(
        self,
        work: Workload,
        problem: Problem,
        sides: Sides,
        config: MatMulConfig,
        isa: Isa,
        partial: Partial | None,
        multiply: Multiply,
        start: Word | None,
    ) -> None:
        grid = Grid(config.vectors * isa.lanes, row_tiles(problem.rows, config.rows), config.block)
        elements = Elements(multiply.left, multiply.right, multiply.group, multiply.sums)
        super().__init__(work, problem, sides, grid, elements)
        self.config, self.isa, self.partial, self.multiply = config, isa, partial, multiply
        self.start = self.words.pointer(start) if start is not None else ""
        self.sums = self.words.pointer(partial.word) if partial else ""
        self.sums_row = self.words.size(self.panels * self.width)
        self.turn_bytes = self.width * multiply.column_bytes

    def _panel(self, batch: Size, tile: Size, column: Size, b: str) -> None:
        f = self.f
        self.soon = self._next_panel(b, tile)
        self.sums_base = f.add(f.mul(batch, f.mul(self.rows, self.sums_row)), column)
        if self.start:
            # The panels of all batches follow each other, and so do the sums they start with.
            number = f.udiv(
                f.sub(f.value(f"ptrtoint ptr {b} to i64"), f.value(f"ptrtoint ptr {self.right} to i64")),
                self.panel_bytes,
            )
            self.start_at = f.at(self.start, f.mul(number, self.width * 4))

    def _next_panel(self, b: str, tile: Size) -> tuple[str, int] | None:
        """What the k loop fetches ahead: this tile's part of the next panel, or further on in this one."""
        f, config = self.f, self.config
        if config.ahead:
            return f.at(b, config.ahead), config.unroll * self.turn_bytes // CACHE_LINE
        if not config.prefetch:
            return None
        turns = f.udiv(self.depth, config.unroll * self.multiply.group)
        part = f.mul(turns, config.prefetch * CACHE_LINE)
        return f.at(b, f.add(self.panel_bytes, f.mul(tile, part))), config.prefetch

    def _rows(self, tile: Size, a: str, b: str, out: Size, column: Size) -> None:
        f = self.f

        def variant(size: int, row: Size) -> None:
            self._tile(
                size,
                row,
                f.at(a, f.mul(row, self.row_bytes)),
                b,
                f.add(out, f.mul(row, self.out_row)),
                column,
            )

        self.tiling.emit(f, tile, self.rows, variant)

    def _tile(self, rows: int, row: Size, a: str, b: str, out: Size, column: Size) -> None:
        f, config, problem = self.f, self.config, self.problem
        self.sums_at = f.add(self.sums_base, f.mul(row, self.sums_row))
        left = f.sub(self.columns, column)
        masks: tuple[str | None, ...] = ()
        packed = config.right != "direct"
        if not packed and not (isinstance(problem.columns, int) and problem.columns % self.width == 0):
            masks = tuple(column_mask(f, self.isa.lanes, left, j) for j in range(config.vectors))
        group = self.multiply.group
        groups, tail = f.udiv(self.depth, group), f.urem(self.depth, group)
        segment = Segment(
            tuple(range(rows)), ((groups, f.mul(group, self.depth_bytes), 1),), tail=tail if group > 1 else 0
        )
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
            multiply=self.multiply,
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
            lambda columns: store_tile(f, self.isa, sums, self._store(rows, out, column, columns)),
        )

    def _earlier_sums(self, rows: int) -> list[list[str]] | None:
        """What earlier launches left for this tile, or what the sums of its columns begin with."""
        if self.start:
            row = [
                load_vector(
                    self.f, self.isa.lanes, dtypes.i32, self.f.at(self.start_at, j * self.isa.lanes * 4)
                )
                for j in range(self.config.vectors)
            ]
            return [row] * rows
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
