"""Convolutions of narrow floats and bytes by vector registers: where there are no tile registers, or few channels.

x is copied widened where the target does not multiply its dtype (bytes to i16, floats to f32), and read in place where
it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa
from engineworks.codegen.llvm.loads import load_vector
from engineworks.codegen.llvm.multiply import Multiply, multiplies
from engineworks.codegen.llvm.tile import Segment, Tile, accumulate
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import count_nodes
from engineworks.kernels.cpu.conv_cost import (
    CYCLES_PER_SECOND,
    FAR_BYTES_PER_CYCLE,
    most_rows,
    step_cycles,
    typical,
)
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.conv_positions import MOST_ROWS, WORD_BYTES, PositionsPlan, Product, pack_filters
from engineworks.kernels.cpu.conv_positions_emit import BlockConfig, BlockOperands
from engineworks.kernels.cpu.conv_positions_image import (
    copy_cycles,
    operand_dtypes,
    orders,
    positions_image,
    problem_of,
)
from engineworks.kernels.cpu.conv_tiles import spread
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Effort, KernelImage, Packed, Tactic
from engineworks.kernels.workload import Workload

BLOCK_CYCLES = 60
FLIPPING_OUTPUTS = 128
"""Output channels from which on flipping bytes in registers costs more than a copy."""


@dataclass(frozen=True, slots=True)
class DotConfig:
    """`form`: of `Multiply`; the blocks have one tile of positions, in registers."""

    form: str
    blocks: BlockConfig


class CpuConvDot:
    """Convolutions of f16, bf16 and bytes (and of f32 by narrow filters) with filters known at build."""

    name = "cpu.conv_dot"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Tiles and orders by predicted time.

        Raises:
            NoTactic: operands of f32 alone or without a product, filters known at run time only, depthwise groups, or
                an output that does not have its channels innermost.
        """
        seen: list[Tactic] = []
        ways = _ways(work, isa)
        finish_of(work)
        for multiply in ways:
            plan = _plan(work, multiply)
            seen += [
                Tactic(self.name, DotConfig(multiply.form, c), seconds(plan, multiply, work, c, isa))
                for c in configs_of(plan, isa)
            ]
        seen.sort(key=lambda t: t.predicted_s)
        return seen[: (1, 1, 2, 4, 8, 30)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """The image: [copy x], then the tiles."""
        config: DotConfig = tactic.config
        multiply = next(m for m in _ways(work, isa) if m.form == config.form)
        plan, parts = _plan(work, multiply), ImageParts()
        start = None
        if multiply.flips_left:
            start = parts.pack(lambda values: flipped_start(np.asarray(values[1]), plan, config.blocks.width))
        how = replace(multiply, left=dtypes.u8) if plan.flipped else multiply
        multiplier = RegisterMultiplier(isa, how, plan, config.blocks, start)
        return positions_image(work, plan, config.blocks, isa, multiplier, "conv_dot", parts)


def _ways(work: Workload, isa: Isa) -> list[Multiply]:
    x, w = operand_dtypes(work)
    if x is w is dtypes.f32:
        raise NoTactic("f32 by f32 is for the direct family")
    found = panel_multiplies(x, w, isa)
    if not found:
        raise NoTactic(f"registers do not multiply {x} by {w}")
    return found


def panel_multiplies(x: DType, w: DType, isa: Isa) -> list[Multiply]:
    """Multiplies whose k groups are four bytes of A; x is widened to its dtype when it is copied."""
    return [m for m in multiplies(x, w, isa, right_constant=True) if m.left_bytes == WORD_BYTES]


def _plan(work: Workload, multiply: Multiply) -> PositionsPlan:
    """A copy flips bytes where the instruction wants them flipped: once, not for every panel."""
    panels = typical(work.outputs[0].shape[1]) // FLIPPING_OUTPUTS
    copies = multiply.flips_left and panels > 0
    plan = problem_of(work, Product(multiply.left, multiply.right, multiply.sums), copies=copies)
    return replace(plan, flipped=multiply.flips_left and plan.placed.copied)


def flipped_start(filters: np.ndarray, plan: PositionsPlan, width: int) -> np.ndarray:
    """[panels, width] i32: what sums of bytes with 128 added start at."""
    panels = pack_filters(filters, plan, width).astype(np.int64)
    return (panels.sum(axis=(2, 3, 5)) * -128).astype(np.int32)


@dataclass(slots=True)
class RegisterMultiplier:
    """Multiplies blocks in vector registers. `start`: `flipped_start`, where x's bytes are flipped."""

    isa: Isa
    how: Multiply
    plan: PositionsPlan
    config: BlockConfig
    start: Packed | None
    first: str = ""

    def begin(self, f: Function, words: Words) -> None:
        if self.start is not None:
            self.first = words.pointer(self.start)

    def multiply(self, f: Function, operands: BlockOperands) -> None:
        steps, lanes, config = self.plan.steps, self.isa.lanes, self.config
        vectors, groups = config.width // lanes, steps.step_bytes // 4
        rows = tuple(range(config.rows))
        segments = tuple(
            Segment(
                rows, ((groups, 4, 1),), f.value(f"load i64, ptr {f.at(operands.offsets, 8 * k)}"), k * groups
            )
            for k in range(steps.count)
        )
        offsets = tuple(r * operands.position_bytes for r in rows)
        row_bytes, align = config.width * self.how.column_bytes, lanes * self.how.column_bytes
        code = Tile(offsets, vectors, segments, row_bytes, b_align=align, multiply=self.how)
        initial = None
        if self.first:
            start = f.at(self.first, f.mul(operands.panel, config.width * 4))
            row = [
                load_vector(f, lanes, dtypes.i32, f.at(start, j * lanes * 4), align=4) for j in range(vectors)
            ]
            initial = [row] * config.rows
        (tile,) = operands.tiles
        sums = accumulate(f, self.isa, code, tile, operands.filters, initial)
        for r, values in enumerate(sums):
            for j, value in enumerate(values):
                at = f.at(operands.saved, (r * config.width + j * lanes) * 4)
                f.line(f"store {self.how.sum_type(self.isa)} {value}, ptr {at}, align 4")

    def end(self, f: Function) -> None:
        """Nothing is held."""


def configs_of(plan: PositionsPlan, isa: Isa) -> list[BlockConfig]:
    """Tiles of registers, with orders."""
    out: list[BlockConfig] = []
    positions = plan.placed.positions
    for vectors in range(1, 5 if isa.registers >= 32 else 4):
        if vectors > 1 and plan.group_outputs <= (vectors - 1) * isa.lanes:
            continue
        rows = min(most_rows(vectors, isa), MOST_ROWS)
        if isinstance(positions, int):
            rows = spread(positions, rows)[0][0]
        out += orders(plan, BlockConfig(rows, 1, vectors * isa.lanes))
    return out


def seconds(plan: PositionsPlan, multiply: Multiply, work: Workload, config: BlockConfig, isa: Isa) -> float:
    """Predicted time on one thread: multiply-adds, the epilogue, the copy, and filters on their way."""
    g, placed = plan.g, plan.placed
    slices = typical(g.batch * g.out[0]) if placed.copied else 1
    blocks = slices * -(-typical(placed.positions) // config.height)
    panels = -(-plan.group_outputs // config.width) * plan.groups
    depth = plan.steps.count * plan.steps.step_bytes // 4
    vectors = config.width // isa.lanes
    nodes = 0 if work.epilogue is None else count_nodes(work.epilogue.expression)
    step = step_cycles(config.rows, vectors, isa, depth) * multiply.cost + vectors * multiply.load_cost / 2
    if multiply.flips_left and not plan.flipped:
        step += config.rows / 2
    cycles = blocks * panels * (depth * step + BLOCK_CYCLES + config.rows * vectors * (4 + 0.4 * nodes))
    arriving = plan.panel_bytes(config.width) * panels / FAR_BYTES_PER_CYCLE
    cycles = max(cycles, arriving) + 0.25 * min(cycles, arriving)
    if placed.copied:
        cycles += copy_cycles(plan, config)
    return cycles / CYCLES_PER_SECOND


PROVIDERS = (CpuConvDot(),)
