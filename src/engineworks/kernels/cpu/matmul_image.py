"""The image of a product by register tiles: copies, packing, and the launches that multiply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.multiply import Multiply
from engineworks.core.dims import ceil_div
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul_emit import MatMulConfig, Partial, emit_matmul
from engineworks.kernels.cpu.matmul_grid import Sides
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cpu.matmul_sides import copied_left, left_in_place, packed_right
from engineworks.kernels.cpu.pack import PanelForm
from engineworks.kernels.tactic import Input, KernelImage, Packed, PackedConstant, Word, Workspace
from engineworks.kernels.workload import Workload


def matmul_image(
    work: Workload, problem: Problem, config: MatMulConfig, multiply: Multiply, isa: Isa
) -> KernelImage:
    """The image of a MatMulConfig."""
    return _Image(work, problem, config, multiply, isa).build()


class _Image:
    """One tactic's image while it is put together."""

    def __init__(
        self, work: Workload, problem: Problem, config: MatMulConfig, multiply: Multiply, isa: Isa
    ) -> None:
        self.work, self.problem, self.config, self.multiply, self.isa = work, problem, config, multiply, isa
        self.width = config.vectors * isa.lanes
        self.form = PanelForm(self.width, multiply.right, multiply.group)
        self.parts = ImageParts()

    def build(self) -> KernelImage:
        sides = self._sides()
        if self.config.depth_block:
            self._multiply_by_depth(sides)
            return self.parts.image()
        start = self._start() if self.multiply.flips_left else None
        emitted = emit_matmul(
            self.work, self.problem, sides, self.config, self.isa, multiply=self.multiply, start=start
        )
        self.parts.add(*emitted)
        return self.parts.image()

    def _multiply_by_depth(self, sides: Sides) -> None:
        """One launch for each block of the depth: blocks of the left side then stay in the second cache."""
        problem, config = self.problem, self.config
        assert self.multiply.form == "f32", "only f32 sums wait between launches"
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

    def _sides(self) -> Sides:
        problem = self.problem
        left = left_in_place(problem)
        if self.config.left == "padded":
            left = copied_left(self.parts, problem, self.multiply.left, self.isa)
        if self.config.right == "direct":
            right = Input(problem.right_input)
            return Sides(
                left.word, right, left.row, left.depth, self.width, problem.right_depth, left.batches
            )
        placed = packed_right(self.parts, problem, left.batches, self.form, self.isa)
        step = self.width * self.form.group
        return Sides(left.word, placed.word, left.row, left.depth, placed.panel, step, placed.batches)

    def _start(self) -> Packed:
        """What the sums begin with where the left side is read with 128 added."""
        index = self.problem.right_input
        return self.parts.constant(
            PackedConstant(partial(_column_sums, index=index, width=self.width, transposed=index == 0))
        )


def _column_sums(arrays: Mapping[int, np.ndarray], *, index: int, width: int, transposed: bool) -> np.ndarray:
    """-128 Σ_k of each column, [batch][panel][width] i32."""
    right = np.asarray(arrays[index]).astype(np.int32)
    totals = right.sum(axis=-1 if transposed else -2, dtype=np.int32) * np.int32(-128)
    padding = [(0, 0)] * (totals.ndim - 1) + [(0, -totals.shape[-1] % width)]
    return np.ascontiguousarray(np.pad(totals, padding))


def _shifted(word: Word, size_bytes: int) -> Word:
    """The address `size_bytes` further on."""
    assert isinstance(word, Input | Packed | Workspace), "operands have addresses"
    return replace(word, offset=word.offset + size_bytes)
