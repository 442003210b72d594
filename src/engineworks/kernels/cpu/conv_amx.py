"""Convolutions of bf16 and of 8-bit integers by tile registers (AMX)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Function, Isa
from engineworks.errors import NoTactic
from engineworks.ir.scalar import count_nodes
from engineworks.kernels.cpu.conv_cost import (
    CYCLES_PER_SECOND,
    FAR_BYTES_PER_CYCLE,
    SECOND_CACHE_BYTES,
    typical,
)
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.conv_positions import PositionsPlan, Product
from engineworks.kernels.cpu.conv_positions_emit import BlockConfig, BlockOperands
from engineworks.kernels.cpu.conv_positions_image import (
    copy_cycles,
    operand_dtypes,
    orders,
    positions_image,
    problem_of,
)
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload

BLOCKS = ((2, 2), (1, 4), (2, 1), (1, 2), (1, 1))
"""(tiles of positions, tiles of channels)."""
NEAR_BYTES = 24 << 10
"""What may stay in the first cache while panels pass over it."""
_TILE_CYCLES = {True: 8.0, False: 20.0}
"""To load a tile, from the first cache or not."""
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
        _, plan = _problem(work, isa)
        finish_of(work)
        seen = [Tactic(self.name, c, seconds(plan, work, c)) for c in configs_of(plan)]
        seen.sort(key=lambda t: t.predicted_s)
        return seen[: (1, 2, 3, 6, 12, 30)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """The image: [copy x], then the tiles."""
        product, plan = _problem(work, isa)
        config: BlockConfig = tactic.config
        return positions_image(work, plan, config, isa, TileMultiplier(product, plan, config), "conv_amx")


@dataclass(frozen=True, slots=True)
class TileMultiplier:
    """Multiplies blocks in tile registers."""

    product: amx.TileProduct
    plan: PositionsPlan
    config: BlockConfig

    @property
    def block(self) -> amx.TileBlock:
        rows = (self.config.rows,) * self.config.row_tiles
        columns = self.config.width // amx.TILE_COLUMNS
        return amx.TileBlock(self.product, rows, columns, self.plan.steps.step_bytes)

    def begin(self, f: Function, words: Words) -> None:
        amx.configure(f, self.block)

    def multiply(self, f: Function, operands: BlockOperands) -> None:
        steps, block, group_bytes = self.plan.steps, self.block, self.config.width * 4
        step_bytes = steps.step_bytes * self.config.width
        amx.clear(f, block)
        with f.loop(0, steps.count) as step:
            offset = f.value(f"load i64, ptr {f.at(operands.offsets, f.mul(step, 8))}")
            left = amx.Left([f.at(t, offset) for t in operands.tiles], operands.position_bytes)
            right = amx.Right(f.at(operands.filters, f.mul(step, step_bytes)), group_bytes)
            amx.steps(f, block, 1, left, right)
        amx.save(f, block, operands.saved, group_bytes)

    def end(self, f: Function) -> None:
        amx.release(f)


def _problem(work: Workload, isa: Isa) -> tuple[amx.TileProduct, PositionsPlan]:
    x, w = operand_dtypes(work)
    product = amx.tile_product(x, w, isa)
    if product is None:
        raise NoTactic(f"tiles of {x} by {w} are not among the target's features")
    return product, problem_of(work, Product(x, w, product.sums, amx.TILE_BYTES))


def configs_of(plan: PositionsPlan) -> list[BlockConfig]:
    """Blocks with orders."""
    out: list[BlockConfig] = []
    positions = plan.placed.positions
    for row_tiles, columns in BLOCKS:
        if columns > 1 and plan.group_outputs <= (columns - 1) * amx.TILE_COLUMNS:
            continue
        if isinstance(positions, int) and positions <= amx.TILE_ROWS and row_tiles > 1:
            continue
        rows = _tile_rows(plan, row_tiles)
        out += orders(plan, BlockConfig(rows, row_tiles, columns * amx.TILE_COLUMNS))
    return out


def _tile_rows(plan: PositionsPlan, row_tiles: int) -> int:
    """Positions of a tile, so that blocks are full: a tile takes a cycle for each."""
    positions = plan.placed.positions
    if not isinstance(positions, int):
        return amx.TILE_ROWS
    tiles = -(-positions // (amx.TILE_ROWS * row_tiles)) * row_tiles
    return -(-positions // tiles)


def seconds(plan: PositionsPlan, work: Workload, config: BlockConfig) -> float:
    """Predicted time on one thread: products, tile loads, the epilogue, the copy, and filters on their way."""
    g, placed = plan.g, plan.placed
    slices = typical(g.batch * g.out[0]) if placed.copied else 1
    blocks = slices * -(-typical(placed.positions) // config.height)
    panels = -(-plan.group_outputs // config.width) * plan.groups
    columns = config.width // amx.TILE_COLUMNS
    panel_bytes = plan.panel_bytes(config.width)
    step = max(float(columns * config.height), _load_cycles(plan, config, panels))
    nodes = 0 if work.epilogue is None else count_nodes(work.epilogue.expression)
    vectors = config.height * min(columns, -(-plan.group_outputs // amx.TILE_COLUMNS))
    block = plan.steps.count * step + BLOCK_CYCLES + vectors * (3 + 0.4 * nodes)
    cycles = blocks * panels * block
    arriving = _passes(panel_bytes * panels, blocks, config) * panel_bytes * panels / FAR_BYTES_PER_CYCLE
    cycles = max(cycles, arriving) + 0.25 * min(cycles, arriving)
    if placed.copied:
        cycles += copy_cycles(plan, config)
    return cycles / CYCLES_PER_SECOND


def _load_cycles(plan: PositionsPlan, config: BlockConfig, panels: int) -> float:
    """Of the tiles of one step, which come from the first cache or from the second."""
    panel = plan.panel_bytes(config.width)
    window = config.height * plan.steps.count * plan.steps.step_bytes // plan.g.kernel[2]
    meets_again = plan.g.depth > plan.g.group_channels or (config.together == 1 and panels > 1)
    near_left = meets_again and window <= NEAR_BYTES
    near_right = (panel if config.together != 1 else panel * panels) <= NEAR_BYTES
    columns = config.width // amx.TILE_COLUMNS
    return config.row_tiles * _TILE_CYCLES[near_left] + columns * _TILE_CYCLES[near_right]


def _passes(filter_bytes: int, blocks: int, config: BlockConfig) -> int:
    """How often the filters come from beyond the second cache."""
    if filter_bytes <= SECOND_CACHE_BYTES or config.order == "panels" or not config.together:
        return 1
    return -(-blocks // config.together)


PROVIDERS = (CpuConvAmx(),)
