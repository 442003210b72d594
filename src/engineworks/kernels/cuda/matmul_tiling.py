"""The tiles of a product's output: which there are, in what order programs take them, and how depths are cut."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.triton.lines import Lines
from engineworks.core.dims import Dim, ceil_div
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cuda.matmul_arithmetic import Precision
from engineworks.kernels.cuda.matmul_finish import Block
from engineworks.kernels.cuda.matmul_text import Parameters, divides


@dataclass(frozen=True, slots=True)
class TileConfig:
    """One tile kernel.

    Attributes:
        rows, columns, depth: of a tile, and of one step of its sum.
        warps, stages: of a program; depth steps on their way at once.
        group: rows of tiles that are walked down together, so that what they share is still in the cache.
        maps: the factors are copied by tensor maps, else by threads.
        mapped_store: the output is stored by a tensor map.
        parts: into which the depth of a tile is cut; another kernel adds their sums.
        uncut: tiles, the first ones, that are not cut.
        persistent: one program a processor takes tile after tile.
        turned: the right factor's columns take the place of rows in the matrix units, for few rows.
        precision: of fp32 operands.
    """

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 3
    group: int = 8
    maps: bool = False
    parts: int = 1
    uncut: int = 0
    persistent: bool = False
    turned: bool = False
    precision: Precision = ""
    mapped_store: bool = False


@dataclass(frozen=True, slots=True)
class Tiling:
    """The tiles of an output: batches times rows of tiles times columns of tiles."""

    problem: Problem
    config: TileConfig

    @property
    def row_tiles(self) -> Dim:
        return ceil_div(self.problem.rows, self.config.rows)

    @property
    def column_tiles(self) -> Dim:
        return ceil_div(self.problem.columns, self.config.columns)

    @property
    def count(self) -> Dim:
        return self.row_tiles * self.column_tiles * self.problem.batch_count

    @property
    def cut(self) -> Dim:
        """Tiles that are computed in parts."""
        return self.count - self.config.uncut if self.config.parts > 1 else 0

    @property
    def programs(self) -> Dim:
        return self.count if self.config.parts == 1 else self.config.uncut + self.cut * self.config.parts

    @property
    def part_depth(self) -> Dim:
        """k steps of one part, a multiple of the tile's."""
        return (
            ceil_div(ceil_div(self.problem.depth, self.config.parts), self.config.depth) * self.config.depth
        )

    def emit(self, lines: Lines, parameters: Parameters) -> tuple[str, ...]:
        """From `tile`, its number, to `row_tile`, `column_tile` and the index on each batch axis: names."""
        rows, columns = parameters.size(self.row_tiles), parameters.size(self.column_tiles)
        names = emit_batches(lines, parameters, self.problem, f"({rows} * {columns})")
        if isinstance(self.row_tiles, int) and self.row_tiles <= self.config.group:
            lines.line(f"row_tile = tile % {rows}\ncolumn_tile = tile // {rows}")
            return names
        group = self.config.group
        lines.line(f"band = tile // ({group} * {columns})")
        lines.line(f"height = min({rows} - band * {group}, {group})")
        lines.line(f"row_tile = band * {group} + tile % ({group} * {columns}) % height")
        lines.line(f"column_tile = tile % ({group} * {columns}) // height")
        return names

    def block(self, first: str) -> Block:
        """The tile's place, where `row` and `column` hold its numbers."""
        problem, config = self.problem, self.config
        rows_end = "" if divides(config.rows, problem.rows) else "row_inside"
        columns_end = "" if divides(config.columns, problem.columns) else "column_inside"
        return Block("row", "column", rows_end=rows_end, columns_end=columns_end, first=first)


def emit_batches(lines: Lines, parameters: Parameters, problem: Problem, each: str) -> tuple[str, ...]:
    """From `tile`, a number among all batches, to its number in its own, and the index on each batch axis: names.

    Args:
        each: text of the tiles of one batch.
    """
    if not problem.batches:
        return ()
    names: list[str] = []
    lines.line(f"batch = tile // {each}\ntile = tile % {each}")
    for axis in reversed(problem.batches[1:]):
        size = parameters.size(axis.size)
        names.insert(0, lines.let(f"batch % {size}", "batch"))
        lines.line(f"batch = batch // {size}")
    return ("batch", *names)


def emit_ends(lines: Lines, parameters: Parameters, problem: Problem, block: Block) -> None:
    """The conditions of a block that the tiles do not fill."""
    if block.rows_end:
        lines.line(f"{block.rows_end} = row < {parameters.size(problem.rows)}")
    if block.columns_end:
        lines.line(f"{block.columns_end} = column < {parameters.size(problem.columns)}")


def emit_first(
    lines: Lines, parameters: Parameters, name: str, indices: tuple[str, ...], strides: tuple[Dim, ...]
) -> str:
    """Name of the elements to the first of a matrix, '' where there is one matrix."""
    terms = [
        f"{index}.to(tl.int64) * {parameters.size(stride)}"
        for index, stride in zip(indices, strides, strict=True)
        if stride != 0
    ]
    if terms:
        lines.line(f"{name} = {' + '.join(terms)}")
    return name if terms else ""
