"""Convolutions of bf16 and of 8-bit integers by tile registers (AMX)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from engineworks.codegen.llvm.amx import TILE_ROWS, TileProduct, tile_product
from engineworks.codegen.llvm.function import Isa
from engineworks.errors import NoTactic
from engineworks.ir.scalar import count_nodes
from engineworks.kernels.cpu.conv import geometry_of, pixel_strides
from engineworks.kernels.cpu.conv_amx_emit import AmxConfig, emit_tiles
from engineworks.kernels.cpu.conv_amx_plan import AmxPlan, pack_filters, plan_of
from engineworks.kernels.cpu.conv_amx_stage import stage_rows
from engineworks.kernels.cpu.conv_cost import CYCLES_PER_SECOND, FAR_BYTES_PER_CYCLE, typical
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.tactic import Effort, Input, KernelImage, Tactic, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.conv import Conv

BLOCKS = ((2, 2), (1, 4), (2, 1), (1, 2), (1, 1))
"""(tiles of positions, tiles of channels)."""
NEAR_BYTES = 24 << 10
"""What may stay in the first cache while panels pass over it."""
STAGED_BYTES_PER_CYCLE = 12
BLOCK_CYCLES = 60


class CpuConvAmx:
    """bf16 and 8-bit convolutions with any stride, dilation, padding and groups; filters known at build."""

    name = "cpu.conv_amx"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Blocks and orders by predicted time.

        Raises:
            NoTactic: operands that tiles cannot multiply, filters known at run time only, depthwise groups, or an
                output that does not have its channels innermost.
        """
        plan = _plan(work, isa)
        finish_of(work)
        seen = [Tactic(self.name, c, seconds(plan, work, c)) for c in configs_of(plan)]
        seen.sort(key=lambda t: t.predicted_s)
        return seen[: (1, 2, 3, 6, 12, 30)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """The image: [copy x], then the tiles."""
        plan, end, parts = _plan(work, isa), finish_of(work), ImageParts()
        config: AmxConfig = tactic.config
        filters = parts.pack(lambda values: pack_filters(np.asarray(values[1]), plan, config.width))
        source: Word = stage_rows(parts, input_type(work, 0), plan, isa) if plan.placed.copied else Input(0)
        emit_tiles(parts, work, end, plan, config, isa, source, filters)
        return parts.image()


def _plan(work: Workload, isa: Isa) -> AmxPlan:
    product = _product(work, isa)
    g = geometry_of(work)
    if g.group_channels == g.group_outputs == 1 and g.groups > 1:
        raise NoTactic("depthwise convolutions would fill tiles with zeros")
    if 0 in (*g.out, g.batch, g.channels, g.outputs):
        raise NoTactic("there are no elements")
    return plan_of(g, product, channels_innermost=pixel_strides(input_type(work, 0)) is not None)


def _product(work: Workload, isa: Isa) -> TileProduct:
    if not isinstance(work.anchor, Conv):
        raise NoTactic(f"{work.anchor} is not a convolution")
    x, w = input_type(work, 0).dtype, input_type(work, 1).dtype
    product = tile_product(x, w, isa)
    if product is None:
        raise NoTactic(f"tiles of {x} by {w} are not among the target's features")
    if work.anchor.out_dtype is not product.sums:
        raise NoTactic(f"tiles give {product.sums} sums; out_dtype is {work.anchor.out_dtype}")
    filters = work.inputs[1]
    if filters is None or not filters.constant:
        raise NoTactic("filters that are computed at run time are not packed for tiles")
    return product


def configs_of(plan: AmxPlan) -> list[AmxConfig]:
    """Blocks with orders."""
    out: list[AmxConfig] = []
    positions = plan.placed.positions
    for row_tiles, columns in BLOCKS:
        if columns > 1 and plan.group_outputs <= (columns - 1) * 16:
            continue
        base = AmxConfig(_tile_rows(plan, row_tiles), row_tiles, columns)
        if isinstance(positions, int) and positions <= TILE_ROWS and row_tiles > 1:
            continue
        panels = -(-plan.group_outputs // base.width) * plan.groups
        out.append(base)
        if panels > 1:
            out += [replace(base, together=0), replace(base, order="panels"), replace(base, together=4)]
    return out


def _tile_rows(plan: AmxPlan, row_tiles: int) -> int:
    """Positions of a tile, so that blocks are full: a tile takes a cycle for each."""
    positions = plan.placed.positions
    if not isinstance(positions, int):
        return TILE_ROWS
    tiles = -(-positions // (TILE_ROWS * row_tiles)) * row_tiles
    return -(-positions // tiles)


def seconds(plan: AmxPlan, work: Workload, config: AmxConfig) -> float:
    """Predicted time on one thread: products, tile loads, the epilogue, the copy, and filters on their way."""
    g, placed = plan.g, plan.placed
    slices = typical(g.batch * g.out[0]) if placed.copied else 1
    blocks = slices * -(-typical(placed.positions) // config.height)
    panels = -(-plan.group_outputs // config.width) * plan.groups
    tiles = config.row_tiles * config.columns
    loads = 8.0 * (config.row_tiles + config.columns)
    panel_bytes = plan.steps.count * plan.steps.step_bytes * config.width
    window_bytes = config.height * plan.steps.count * plan.steps.step_bytes
    if (window_bytes if config.together == 1 else panel_bytes) > NEAR_BYTES:
        loads *= 1.7  # both sides come from the second cache
    step = max(float(tiles * config.rows), loads)
    nodes = 0 if work.epilogue is None else count_nodes(work.epilogue.expression)
    vectors = config.height * min(config.columns, -(-plan.group_outputs // 16))
    block = plan.steps.count * step + BLOCK_CYCLES + vectors * (3 + 0.4 * nodes)
    cycles = blocks * panels * block
    arriving = panel_bytes * panels / FAR_BYTES_PER_CYCLE
    cycles = max(cycles, arriving) + 0.25 * min(cycles, arriving)
    if placed.copied:
        cycles += 500 + typical(placed.image_bytes) * typical(g.batch) / STAGED_BYTES_PER_CYCLE
    return cycles / CYCLES_PER_SECOND


PROVIDERS = (CpuConvAmx(),)
