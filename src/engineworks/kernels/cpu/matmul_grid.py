"""What the multiplying kernels share: tasks are tiles of (batch, panel of columns, group of rows)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Size
from engineworks.codegen.llvm.tile import Store, TileOperand
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.ir.scalar import Scalar, argument, cast, substitute
from engineworks.kernels.cpu.matmul_problem import Batch, Problem
from engineworks.kernels.cpu.matmul_rows import RowTiles
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import Input, Output, Step, Word
from engineworks.kernels.workload import Workload

RESULT = Output(0)


@dataclass(frozen=True, slots=True)
class Elements:
    """What a kernel reads and sums.

    Attributes:
        left, right: dtypes of A and of the panels of B, after packing.
        group: neighbouring k elements of a column that lie together in a panel: [k / group][columns][group].
        sums: dtype of the sums.
    """

    left: DType = dtypes.f32
    right: DType = dtypes.f32
    group: int = 1
    sums: DType = dtypes.f32


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the operands are and how they step, after packing: elements, or for a packed right side panels.

    `right_panel`: elements from panel to panel; `right_step`: elements from k group to k group. `out` and `extra`: the
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


Emitted = tuple[str, str, frozenset[str], Step]
"""Symbol, definition, declarations, and the launch."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a product is cut into tasks.

    Attributes:
        width: columns of a panel.
        tiling: of the rows.
        block: row tiles taken through all panels before the next ones; 0: all rows for each panel in turn.
    """

    width: int
    tiling: RowTiles
    block: int = 0


def sum_expression(work: Workload, sums: DType) -> Scalar | None:
    """The epilogue over argument(0), a sum of dtype `sums`, which the anchor rounds to its own dtype first."""
    assert work.anchor is not None, "products have an anchor"
    operands = [None if w is None else w.type for w in work.inputs[: work.anchor_inputs]]
    result = work.anchor.infer(*operands)[0].dtype
    rounded = cast(argument(0, sums), result)
    if work.epilogue is None:
        return None if result is sums else rounded
    if result is sums:
        return work.epilogue.expression
    plain = argument(0, result)
    return substitute(work.epilogue.expression, lambda node: rounded if node is plain else None)


class MatMulKernel(ABC):
    """Emission state: sizes and pointers loaded in the entry block."""

    def __init__(
        self, work: Workload, problem: Problem, sides: Sides, grid: Grid, elements: Elements
    ) -> None:
        self.work, self.problem, self.sides, self.grid, self.elements = work, problem, sides, grid, elements
        self.f: Function = kernel_function()
        self.words = Words(self.f)
        self.width, self.tiling = grid.width, grid.tiling
        self.panels = ceil_div(problem.columns, self.width)
        self.out = work.outputs[0].dtype
        self.expression = sum_expression(work, elements.sums)
        size = self.words.size
        self.left, self.right = self.words.pointer(sides.left), self.words.pointer(sides.right)
        self.target = self.words.pointer(sides.out)
        own = [Input(work.anchor_inputs + k) for k in range(len(self._kinds()))]
        self.extra = [self.words.pointer(word) for word in (own if sides.extra is None else sides.extra)]
        left_size, right_size = elements.left.size_bytes, elements.right.size_bytes
        self.row_bytes = size(sides.left_row * left_size)
        self.depth_bytes = size(sides.left_depth * left_size)
        self.panel_bytes = size(sides.right_panel * right_size)
        self.step_bytes = size(sides.right_step * right_size)
        self.out_row, self.rows, self.columns, self.depth = map(
            size, (problem.out_row, problem.rows, problem.columns, problem.depth)
        )
        self.panel_count, self.tile_count = size(self.panels), size(self.tiling.count)
        self.steps = [
            (size(b.size), size(b.left * left_size), size(b.right * right_size), size(b.out))
            for b in sides.batches
        ]

    def _kinds(self) -> tuple[str, ...]:
        return self.work.epilogue.kinds if self.work.epilogue else ()

    @property
    def tasks(self) -> Dim:
        """Tiles of all batches."""
        return product([self.problem.batch_count, self.panels, self.tiling.count])

    def emit(self, prefix: str = "matmul") -> Emitted:
        """The whole kernel."""
        self._body()
        symbol, text = finish(self.f, prefix)
        return symbol, text, frozenset(self.f.declarations), Step(symbol, tuple(self.words.words), self.tasks)

    def _body(self) -> None:
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
        self._panel(batch, tile, column, b)
        self._rows(tile, f.at(self.left, left), b, f.add(out, column), column)

    def _panel(self, batch: Size, tile: Size, column: Size, b: str) -> None:
        """Note where the panel of a task lies; subclasses note more."""
        self.panel_at = b

    def _order(self, within: Size) -> tuple[Size, Size]:
        f, block = self.f, self.grid.block
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

    @abstractmethod
    def _rows(self, tile: Size, a: str, b: str, out: Size, column: Size) -> None:
        """The sums of row tile number `tile`, and their stores.

        Args:
            a, b: addresses of the first row of A in this batch, and of the panel of B.
            out: element of the output in row 0 and the panel's first column, which is `column`.
        """

    def _store(self, rows: int, out: Size, column: Size, columns: Size | None) -> Store:
        """Where a tile goes, with the epilogue's operands under it."""
        f = self.f
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
        return Store(
            f.at(self.target, f.mul(out, self.out.size_bytes)), tuple(f.mul(r, self.out_row) for r in range(rows)),
            self.out, columns, self.expression, tuple(operands), self.elements.sums,
        )  # fmt: skip
