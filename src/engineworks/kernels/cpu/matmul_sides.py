"""Where the operands of a product lie once they are copied or packed for its kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.kernels.cpu.copy_rows import RowSource, emit_row_copy
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul_problem import Batch, Problem
from engineworks.kernels.cpu.pack import PackSource, PanelForm, emit_pack, packed_constant
from engineworks.kernels.tactic import Input, Word, Workspace

PAD = 16
"""Elements that keep copied rows from lying a power of two apart: one cache line of f32."""


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


def copied_left(parts: ImageParts, problem: Problem, dtype: DType, isa: Isa) -> PlacedLeft:
    """Add a step that copies the left side to rows of `dtype` that do not lie a power of two apart."""
    stride = ceil_div(problem.depth, 16) * 16 + PAD
    target = Workspace(len(parts.workspace))
    differ = tuple((b.size, b.left) for b in problem.batches if b.left != 0)
    source = RowSource(
        Input(problem.left_input), problem.rows, problem.depth, problem.left_row, problem.left_depth,
        problem.left_type, differ,
    )  # fmt: skip
    parts.buffer(product([*(size for size, _ in differ), problem.rows]) * stride * dtype.size_bytes)
    parts.add(*emit_row_copy(source, target, dtype, stride, isa))
    batches: list[Batch] = []
    step = problem.rows * stride
    for axis in reversed(problem.batches):
        batches.insert(0, axis if axis.left == 0 else replace(axis, left=step))
        step = step if axis.left == 0 else step * axis.size
    return PlacedLeft(target, stride, 1, tuple(batches))


@dataclass(frozen=True, slots=True)
class PlacedRight:
    """Where the packed right side lies: elements from panel to panel, and the batch axes with its steps."""

    word: Word
    panel: Dim
    batches: tuple[Batch, ...]


def packed_right(
    parts: ImageParts, problem: Problem, batches: tuple[Batch, ...], form: PanelForm, isa: Isa
) -> PlacedRight:
    """The right side in panels: a constant, or made by a step that this adds.

    Args:
        batches: the product's, with the steps of the left side.
    """
    if problem.right_constant:
        panel = form.panel(problem.depth)
        word: Word = parts.constant(
            packed_constant(problem.right_input, form, transposed=problem.right_input == 0)
        )
        return PlacedRight(word, panel, _dense_right(batches, panel * ceil_div(problem.columns, form.width)))
    target = Workspace(len(parts.workspace))
    made = emit_pack(_right_source(problem), target, form, isa)
    parts.buffer(made.size_bytes)
    parts.add(made.symbol, made.text, made.declarations, made.step)
    return PlacedRight(target, made.panel, _dense_right(batches, made.matrix))


def _right_source(problem: Problem) -> PackSource:
    """The right operand as a packing step reads it."""
    return PackSource(
        Input(problem.right_input),
        problem.depth,
        problem.columns,
        problem.right_depth,
        problem.right_column,
        tuple((b.size, b.right) for b in problem.right_batches),
        problem.right_type,
    )


def _dense_right(batches: tuple[Batch, ...], matrix: Dim) -> tuple[Batch, ...]:
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
