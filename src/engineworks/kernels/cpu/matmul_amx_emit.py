"""The matmul kernel of AMX tiles: tasks are one or two tile rows by a few tile columns."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.tile import by_columns
from engineworks.core.dims import ceil_div
from engineworks.kernels.cpu.matmul_grid import Elements, Emitted, Grid, MatMulKernel, Sides
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cpu.matmul_rows import RowTiles
from engineworks.kernels.workload import Workload

_NONE = -1
"""No shapes are set yet."""
ROWS = 2 * amx.TILE_ROWS
"""Of two tiles, which share each tile of B."""


@dataclass(frozen=True, slots=True)
class AmxConfig:
    """How one matmul is tiled.

    Attributes:
        rows: of a task, a multiple of 32, or fewer than 17. Its blocks of sums share the panel of B.
        columns: tile columns of a task, 16 columns each.
        steps: k steps taken through all rows of the task before the next ones, so that this part of the panel stays
            in the first cache; 0: all.
        block: tasks' rows taken through all panels before the next ones; 0: all rows for each panel in turn.
    """

    rows: int
    columns: int
    steps: int = 0
    block: int = 0


def scratch_bytes(config: AmxConfig) -> int:
    """The sums of a task, and the ends of its rows of A."""
    return config.rows * config.columns * amx.TILE_COLUMNS * 4 + ROWS * amx.TILE_BYTES


def emit_amx_matmul(
    work: Workload, problem: Problem, sides: Sides, product: amx.TileProduct, config: AmxConfig, isa: Isa
) -> Emitted:
    """The multiplying kernel."""
    return _Kernel(work, problem, sides, product, config, isa).emit("matmul_amx")


class _Kernel(MatMulKernel):
    """Emission state."""

    def __init__(
        self,
        work: Workload,
        problem: Problem,
        sides: Sides,
        product: amx.TileProduct,
        config: AmxConfig,
        isa: Isa,
    ) -> None:
        operands = (work.inputs[problem.left_input], work.inputs[problem.right_input])
        left, right = (o.type.dtype for o in operands if o is not None)
        elements = Elements(left, right, product.group, product.sums)
        width = config.columns * amx.TILE_COLUMNS
        super().__init__(
            work,
            problem,
            sides,
            Grid(width, RowTiles(config.rows, ceil_div(problem.rows, config.rows), ()), config.block),
            elements,
        )
        self.product, self.config, self.isa = product, config, isa
        self.whole, self.rest = (g(self.depth, product.depth) for g in (self.f.udiv, self.f.urem))
        self.blocks: Size = 1
        if config.steps:
            self.blocks = self.f.smax(self.f.ceil_div(self.whole, config.steps), 1)

    def _body(self) -> None:
        rows = self.rows
        if isinstance(rows, int) and (rows % ROWS == 0 or rows < ROWS):
            self.configured = ""
            if rows:
                amx.configure(self.f, self._blocks_of(rows)[0] if rows < ROWS else self._whole_block())
        else:
            self.configured = self.f.variable("i64", _NONE)
        super()._body()
        amx.release(self.f)

    def _rows(self, tile: Size, a: str, b: str, out: Size, column: Size) -> None:
        """All rows of a task: blocks of 32 rows, and what is left; part by part of the depth."""
        f, config = self.f, self.config
        row = 0 if self.tile_count == 1 else f.mul(tile, config.rows)
        count = f.smin(f.sub(self.rows, row), config.rows)
        if isinstance(self.rows, int) and self.rows % config.rows == 0:
            count = config.rows
        self.column, self.panel_at = column, b
        self.a, self.out_at = f.at(a, f.mul(row, self.row_bytes)), f.add(out, f.mul(row, self.out_row))
        whole = f.udiv(count, ROWS)
        rest = f.sub(count, f.mul(whole, ROWS))
        with f.loop(0, self.blocks) as part:
            self.part = 0 if self.blocks == 1 else part
            if config.rows >= ROWS:
                self._whole_blocks(whole)
            self._last_block(f.mul(whole, ROWS), rest)

    def _whole_blocks(self, count: Size) -> None:
        if count == 0:
            return
        f, block = self.f, self._whole_block()
        self._configure(block)
        with f.loop(0, count) as number:
            self._sums(block, f.mul(number, ROWS))

    def _last_block(self, first: Size, rows: Size) -> None:
        """Fewer than 32 rows: one tile or two."""
        f = self.f

        def block(given: amx.TileBlock) -> None:
            self._configure(given)
            self._sums(given, first)

        if isinstance(rows, int):
            for given in self._blocks_of(rows):
                block(given)
            return
        with f.when(f.compare("ne", rows, 0)):
            one, *two = self._blocks_of(rows)
            if two:
                f.branch(f.compare("sle", rows, amx.TILE_ROWS), lambda: block(one), lambda: block(two[0]))
            else:
                block(one)

    def _whole_block(self) -> amx.TileBlock:
        return amx.TileBlock(self.product, (amx.TILE_ROWS,) * 2, self.config.columns)

    def _blocks_of(self, rows: Size) -> list[amx.TileBlock]:
        """For fewer than 32 rows: the block of that many, or of unknown rows those of one tile and of two."""
        if rows == 0:
            return []
        at_most_one = isinstance(rows, int) and rows <= amx.TILE_ROWS
        if at_most_one or self.config.rows <= amx.TILE_ROWS:
            return [amx.TileBlock(self.product, (rows,), self.config.columns)]
        rest = self.f.sub(rows, amx.TILE_ROWS)
        two = amx.TileBlock(self.product, (amx.TILE_ROWS, rest), self.config.columns)
        if isinstance(rows, int):
            return [two]
        return [amx.TileBlock(self.product, (rows,), self.config.columns), two]

    def _configure(self, block: amx.TileBlock) -> None:
        """Set the shapes of the tiles unless they are those of the block before: it takes hundreds of cycles."""
        if not self.configured:
            return
        f, height = self.f, block.height(self.f)
        with f.when(f.compare("ne", f.get("i64", self.configured), height)):
            amx.configure(f, block)
            f.set("i64", self.configured, height)

    def _sums(self, block: amx.TileBlock, first: Size) -> None:
        """One part of the depth for the rows from `first` on; after the last part they are stored."""
        f = self.f
        row_bytes = self.width * 4
        sums = f.at("%scratch", f.mul(first, row_bytes))
        a = f.at(self.a, f.mul(first, self.row_bytes))
        last = f.sub(self.blocks, 1)

        def begin() -> None:
            amx.clear(f, block)

        def finish() -> None:
            self._tail(block, a)
            self._finish(block, f.add(self.out_at, f.mul(first, self.out_row)), sums)

        if self.blocks == 1:
            begin()
        else:
            f.branch(f.compare("eq", self.part, 0), begin, lambda: amx.resume(f, block, sums, row_bytes))
        self._steps(block, a)
        if self.blocks == 1:
            finish()
        else:
            f.branch(f.compare("eq", self.part, last), finish, lambda: amx.save(f, block, sums, row_bytes))

    def _steps(self, block: amx.TileBlock, a: str) -> None:
        f = self.f
        start = f.mul(self.part, self.config.steps)
        count = self.whole if self.blocks == 1 else f.smin(f.sub(self.whole, start), self.config.steps)
        b = f.at(self.panel_at, f.mul(start, f.mul(amx.TILE_ROWS, self.step_bytes)))
        at = f.at(a, f.mul(start, amx.TILE_BYTES))
        tiles = [f.at(at, f.mul(first, self.row_bytes)) for first in block.firsts]
        left, right = amx.Left(tiles, self.row_bytes), amx.Right(b, self.step_bytes)
        amx.steps(f, block, count, left, right)

    def _tail(self, block: amx.TileBlock, a: str) -> None:
        """The end of rows of A that is shorter than a step is copied first."""
        f, rest = self.f, self.rest
        if rest == 0:
            return
        ends = f.at("%scratch", self.config.rows * self.width * 4)

        def emit() -> None:
            at = f.at(a, f.mul(self.whole, amx.TILE_BYTES))
            size = self.elements.left.size_bytes
            amx.copy_tail(f, block.height(f), at, self.row_bytes, f.mul(rest, size), ends)
            b = f.at(self.panel_at, f.mul(self.whole, f.mul(amx.TILE_ROWS, self.step_bytes)))
            copies = [f.at(ends, first * amx.TILE_BYTES) for first in block.firsts]
            amx.steps(f, block, 1, amx.Left(copies, amx.TILE_BYTES), amx.Right(b, self.step_bytes))

        if isinstance(rest, str):
            with f.when(f.compare("ne", rest, 0)):
                emit()
        else:
            emit()

    def _finish(self, block: amx.TileBlock, out: Size, sums: str) -> None:
        """Sums that are the result go where it belongs; others through the scratch and the epilogue."""
        f = self.f
        plain = self.expression is None and self.out is self.product.sums

        def store(columns: Size | None) -> None:
            if plain and columns is None:
                amx.save(f, block, f.at(self.target, f.mul(out, 4)), f.mul(self.out_row, 4))
                return
            amx.save(f, block, sums, self.width * 4)
            given = self._store(0, out, self.column, columns)
            amx.store_saved(f, self.isa, block, sums, self.width * 4, given, self.out_row)

        by_columns(f, self.width, f.sub(self.columns, self.column), self.columns, store)
