"""The matmul kernel of AMX tiles: tasks are one or two tile rows by a few tile columns."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.tile import by_columns
from engineworks.kernels.cpu.matmul_grid import Elements, Emitted, Grid, MatMulKernel, Sides
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cpu.matmul_rows import row_tiles
from engineworks.kernels.workload import Workload

_NONE = -1
"""No block's shapes are configured yet."""


@dataclass(frozen=True, slots=True)
class AmxConfig:
    """How one matmul is tiled.

    Attributes:
        rows: of a task, at most 32 (two tile rows).
        columns: tile columns of a task, 16 columns each.
        block: tasks' rows taken through all panels before the next ones; 0: all rows for each panel in turn.
        unroll: k steps a turn.
    """

    rows: int
    columns: int
    block: int = 0
    unroll: int = 2


def tile_rows(rows: int) -> tuple[int, ...]:
    """Rows of each tile when a task has `rows`."""
    count = -(-rows // amx.TILE_ROWS)
    small, more = divmod(rows, count)
    return (small + 1,) * more + (small,) * (count - more)


def scratch_bytes(config: AmxConfig) -> int:
    """The sums, and the ends of the rows of A."""
    return config.rows * (config.columns * amx.TILE_COLUMNS * 4 + amx.TILE_BYTES)


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
            work, problem, sides, Grid(width, row_tiles(problem.rows, config.rows), config.block), elements
        )
        self.product, self.config, self.isa = product, config, isa
        self.several = len(self.tiling.split) != 1

    def _body(self) -> None:
        f = self.f
        if self.several:
            self.configured = f.variable("i64", _NONE)
        else:
            amx.configure(f, self._block(self.tiling.split[0][0]))
        super()._body()
        amx.release(f)

    def _block(self, rows: int) -> amx.TileBlock:
        return amx.TileBlock(self.product, tile_rows(rows), self.config.columns)

    def _configure(self, block: amx.TileBlock) -> None:
        """Set the shapes of the tiles unless they are those of the task before."""
        f = self.f
        if not self.several:
            return
        with f.when(f.compare("ne", f.get("i64", self.configured), block.height)):
            amx.configure(f, block)
            f.set("i64", self.configured, block.height)

    def _tile(self, rows: int, row: Size, a: str, b: str, out: Size, column: Size) -> None:
        f, block = self.f, self._block(rows)
        self._configure(block)
        amx.clear(f, block)
        self._multiply(block, a, b)
        left = f.sub(self.columns, column)
        by_columns(
            f, self.width, left, self.columns, lambda columns: self._finish(block, out, column, columns)
        )

    def _multiply(self, block: amx.TileBlock, a: str, b: str) -> None:
        """Whole steps read A where it lies; what is left of its rows is copied first."""
        f, size = self.f, self.elements.left.size_bytes
        depth = self.product.depth
        firsts = [sum(block.rows[:k]) for k in range(len(block.rows))]
        tiles = [f.at(a, f.mul(first, self.row_bytes)) for first in firsts]
        right = amx.Right(b, self.step_bytes)
        whole, rest = f.udiv(self.depth, depth), f.urem(self.depth, depth)
        amx.steps(f, block, whole, amx.Left(tiles, self.row_bytes), right, self.config.unroll)

        def tail() -> None:
            ends = f.at("%scratch", self.config.rows * self.width * 4)
            at = f.at(a, f.mul(whole, amx.TILE_BYTES))
            amx.copy_tail(f, block.height, at, self.row_bytes, f.mul(rest, size), ends)
            last = f.at(b, f.mul(whole, f.mul(amx.TILE_ROWS, self.step_bytes)))
            copies = [f.at(ends, first * amx.TILE_BYTES) for first in firsts]
            left = amx.Left(copies, amx.TILE_BYTES)
            amx.steps(f, block, 1, left, amx.Right(last, self.step_bytes))

        if isinstance(rest, str):
            with f.when(f.compare("ne", rest, 0)):
                tail()
        elif rest:
            tail()

    def _finish(self, block: amx.TileBlock, out: Size, column: Size, columns: Size | None) -> None:
        """Sums that are the result go where it belongs; others through the scratch and the epilogue."""
        f = self.f
        if columns is None and self.expression is None and self.out is self.product.sums:
            amx.save(f, block, f.at(self.target, f.mul(out, 4)), f.mul(self.out_row, 4))
            return
        amx.save(f, block, "%scratch", self.width * 4)
        store = self._store(0, out, column, columns)
        amx.store_saved(f, self.isa, block, "%scratch", self.width * 4, store, self.out_row)
