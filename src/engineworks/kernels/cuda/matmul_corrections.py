"""What sums lack where the factors are not multiplied as they are: bytes without sign, rows to normalise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cuda.matmul_finish import Block
from engineworks.kernels.cuda.matmul_sides import Side, extent
from engineworks.kernels.cuda.matmul_text import Parameters, divides, guarded, scaled
from engineworks.kernels.cuda.matmul_tiling import TileConfig
from engineworks.kernels.tactic import Output, Packed
from engineworks.kernels.workload import Workload, input_type

NORMALISED = "normalised_matmul"
"""The op whose left rows are brought to mean 0 and variance 1 before they are multiplied."""


MOST_KEPT = 32
"""Sums, and as many sums of squares, that a thread holds along the loop: more would take the products' registers."""


class Correction(Protocol):
    """Statements that a tile kernel has around its loop over the depth."""

    def start(self, before: Lines, zero: Lines, block: Block) -> None:
        """Before the wait for the kernels ahead, and right before the loop."""

    def step(self, load: Lines) -> None:
        """In the loop, when `left` and `right` are loaded."""

    def correct(self, lines: Lines) -> None:
        """Behind the loop, on `total` [rows, columns]."""


@dataclass(slots=True)
class Unsigned:
    """u8 factors are multiplied 128 lower, as i8; what that takes away is 128 times the sums of the other factor.

    `sums`: of the right factor's columns, where it is packed.
    """

    problem: Problem
    config: TileConfig
    parameters: Parameters
    left: Side
    right: Side
    sums: Packed | None

    def start(self, before: Lines, zero: Lines, block: Block) -> None:
        if self._left_flips and self.sums:
            load_sums(before, self.parameters, self.sums, dtypes.i32, block)
        elif self._left_flips:
            zero.line(f"right_sum = tl.zeros(({self.config.columns},), tl.int32)")
        if self._right_flips:
            zero.line(f"left_sum = tl.zeros(({self.config.rows},), tl.int32)")

    def step(self, load: Lines) -> None:
        if self._left_flips and not self.sums:
            load.line(f"right_sum += tl.sum(right.to(tl.int32), {int(self.config.turned)})")
        if self._right_flips:
            load.line(f"left_sum += tl.sum(left.to(tl.int32), {int(not self.config.turned)})")

    def correct(self, lines: Lines) -> None:
        if self._left_flips:
            lines.line("total += 128 * right_sum[None, :]")
        if self._right_flips:
            lines.line("total += 128 * left_sum[:, None]")
        if self._left_flips and self._right_flips and not self.sums:
            lines.line(f"total += {128 * 128} * {self.parameters.size(self.problem.depth)}")

    @property
    def _left_flips(self) -> bool:
        return self.left.dtype is dtypes.u8

    @property
    def _right_flips(self) -> bool:
        return self.right.dtype is dtypes.u8


@dataclass(slots=True)
class Normalised:
    """Rows of the left factor are normalised on the sums: Σ (x - mean) w / √v = (Σ x w - mean Σ w) / √v.

    Mean and variance are those of x - x[0], so that a mean far from zero costs no digits; they are summed while the
    blocks of x are in the shared memory for the product. Where the op's second output is read, the programs of a row
    of tiles write the normalised rows too, each some columns.
    """

    work: Workload
    problem: Problem
    config: TileConfig
    parameters: Parameters
    left: Side
    sums: Packed
    epsilon: float

    def start(self, before: Lines, zero: Lines, block: Block) -> None:
        load_sums(before, self.parameters, self.sums, dtypes.f32, block)
        base = self._base()
        row = scaled("row", self.left.outer, self.parameters, self.left.reach)
        zero.line(f"shift = tl.load({base} + {row}{guarded(block.rows_end, other='0.0')}).to(tl.float32)")
        rows, step = self.config.rows, self.config.depth
        block_shape = f"({step}, {rows})" if self.config.turned else f"({rows}, {step})"
        shape = block_shape if keeps_blocks(self.config) else f"({rows},)"
        zero.line(f"row_sum = tl.zeros({shape}, tl.float32)")
        zero.line(f"row_squares = tl.zeros({shape}, tl.float32)")

    def step(self, load: Lines) -> None:
        config, depth = self.config, self.problem.depth
        row_axis, depth_axis = ("[None, :]", "[:, None]") if config.turned else ("[:, None]", "[None, :]")
        shifted = f"left.to(tl.float32) - shift{row_axis}"
        if not divides(config.depth, depth):
            inside = f"(k + tl.arange(0, {config.depth}) < {self.parameters.size(depth)}){depth_axis}"
            shifted = f"tl.where({inside}, {shifted}, 0.0)"
        load.line(f"shifted = {shifted}")
        if keeps_blocks(self.config):
            load.line("row_sum += shifted\nrow_squares += shifted * shifted")
        else:
            load.line(f"row_sum += tl.sum(shifted, {int(not config.turned)})")
            load.line(f"row_squares += tl.sum(shifted * shifted, {int(not config.turned)})")

    def correct(self, lines: Lines) -> None:
        depth, axis = self.parameters.size(self.problem.depth), int(not self.config.turned)
        if keeps_blocks(self.config):
            lines.line(f"row_sum = tl.sum(row_sum, {axis})\nrow_squares = tl.sum(row_squares, {axis})")
        lines.line(f"mean = row_sum / {depth}")
        lines.line(f"variance = tl.maximum(row_squares / {depth} - mean * mean, 0.0)")
        lines.line(f"scale = 1.0 / tl.sqrt(variance + {self.epsilon!r})")
        lines.line("mean += shift")
        lines.line("total = (total - mean[:, None] * right_sum[None, :]) * scale[:, None]")
        if len(self.work.outputs) > 1:
            self._emit_rows(lines)

    def _emit_rows(self, lines: Lines) -> None:
        """The second output, as the left factor lies."""
        out, parameters = self.work.outputs[1], self.parameters
        y = parameters.pointer("normalised", out.dtype, Output(1))
        row = scaled("row[:, None]", self.left.outer, parameters, self.left.reach)
        depth, step = parameters.size(self.problem.depth), self.config.depth
        count = parameters.size(-(-self.problem.columns // self.config.columns))
        with lines.block(f"for some in range(column_tile * {step}, {depth}, {count} * {step}):"):
            lines.line(f"along = some + tl.arange(0, {step})[None, :]")
            ends = ["" if divides(self.config.rows, self.problem.rows) else "row_inside[:, None]"]
            ends.append("" if divides(step, self.problem.depth) else f"(along < {depth})")
            lines.line(
                f"wide = tl.load({self._base()} + {row} + along{guarded(*ends, other='0.0')}).to(tl.float32)"
            )
            lines.line("wide = (wide - mean[:, None]) * scale[:, None]")
            kind = "tl.float32" if out.dtype is dtypes.f32 else f"tl.{_FLOATS[out.dtype.name]}"
            lines.line(f"tl.store({y} + {row} + along, wide.to({kind}){guarded(*ends)})")

    def _base(self) -> str:
        return self.parameters.pointer("left_source", self.left.dtype, self.left.word)


_FLOATS = {"f16": "float16", "bf16": "bfloat16"}


def load_sums(lines: Lines, parameters: Parameters, sums: Packed, dtype: DType, block: Block) -> None:
    """`right_sum` [columns] of a packed factor."""
    pointer = parameters.pointer("column_sums", dtype, sums)
    lines.line(f"right_sum = tl.load({pointer} + column{guarded(block.columns_end, other='0')})")


def normalising_epsilon(work: Workload) -> float | None:
    """What is added to the variance of the left rows; None where they are multiplied as they are."""
    return getattr(work.anchor, "epsilon", None) if work.anchor and work.anchor.name == NORMALISED else None


def keeps_blocks(config: TileConfig) -> bool:
    """Moments are kept for each place of a block, so that threads add up theirs once, behind the loop."""
    return config.rows * config.depth <= MOST_KEPT * 32 * config.warps


def is_dense(work: Workload) -> bool:
    """The left operand's rows lie one behind the other, each contiguous."""
    type_ = input_type(work, 0)
    return type_.strides()[-1] == 1 and extent(type_) == type_.count
