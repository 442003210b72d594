"""Winograd convolution for 3x3 kernels of stride 1: fewer multiply-adds for a little more memory traffic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engineworks.codegen.llvm.function import Isa
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import Geometry, geometry_of, pixel_strides, require_f32
from engineworks.kernels.cpu.conv_cost import CYCLES_PER_SECOND, SECOND_CACHE_BYTES, step_cycles, typical
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.conv_tiles import spread
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.winograd_copied import CopiedWinograd
from engineworks.kernels.cpu.winograd_stages import Stages, row_lengths
from engineworks.kernels.cpu.winograd_static import StaticWinograd
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type

MAX_SCRATCH_BYTES = 1 << 20
"""Transformed tiles of one block stay within the second-level cache, beside the filters."""
FILTER_BYTES_PER_CYCLE = 4.5
"""Rate at which what does not fit the second-level cache arrives, fetched ahead."""


@dataclass(frozen=True, slots=True)
class WinogradConfig:
    """F(m x m, 3 x 3) with register tiles of rows x vectors.

    `block`: tiles that go through all three stages at once in thread-private memory; 0: three steps over all tiles.
    """

    m: int
    rows: int
    vectors: int
    block: int


class CpuWinograd:
    """3x3 convolutions of stride 1 with constant filters, f32.

    The error of m = 4 is about ten times that of direct convolution (4e-5 at unit variance): those tactics are loose.
    """

    name = "cpu.winograd"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Tile sizes, register tiles and blocks by predicted time.

        Raises:
            NoTactic: another kernel size, stride, dilation or dtype, groups, or filters not known at build.
        """
        g = _geometry(work)
        finish_of(work)
        tiles = ((14, 2), (6, 4), (8, 3)) if isa.registers >= 32 else ((6, 2), (4, 3))
        copied = _needs_copy(work, g)
        seen = []
        for m in (4, 2):
            for rows, vectors in tiles:
                for block in (0, rows, 2 * rows, 4 * rows):
                    config = WinogradConfig(m, rows, vectors, block)
                    if block == 0 and (copied or not isinstance(g.batch, int)):
                        continue
                    if block and (
                        _scratch(g, config, isa) > MAX_SCRATCH_BYTES or block >= 2 * _tile_count(g, m)
                    ):
                        continue
                    seen.append(Tactic(self.name, config, _seconds(g, isa, config), is_loose=m == 4))
        seen.sort(key=lambda t: t.predicted_s)
        if not seen:
            raise NoTactic(
                "no block of transformed tiles fits the second-level cache, and the batch is not known"
            )
        return seen[: (1, 2, 3, 6, 10, 32)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """One step over blocks of tiles, or three steps: input transform, products, output transform."""
        g, end, parts = _geometry(work), finish_of(work), ImageParts()
        config: WinogradConfig = tactic.config
        stages = Stages(work, g, config.m, config.rows, config.vectors, isa, end)
        if _needs_copy(work, g):
            CopiedWinograd(parts, work, g, stages, config.block).fused()
        elif config.block:
            StaticWinograd(parts, g, stages).fused(_block_tiles(g, config))
        else:
            StaticWinograd(parts, g, stages).staged()
        return parts.image()


def _geometry(work: Workload) -> Geometry:
    require_f32(work)
    g = geometry_of(work)
    one = (1, 1, 1)
    if g.kernel != (1, 3, 3) or g.strides != one or g.dilations != one or g.groups != 1 or g.size[0] != 1:
        raise NoTactic("Winograd serves 3x3 kernels of stride 1, without dilation and groups")
    if not work.inputs[1] or not work.inputs[1].constant:
        raise NoTactic("Winograd needs filters that are known when the engine is built")
    if g.channels < 8 or g.outputs < 8:
        raise NoTactic(f"{g.channels} channels and {g.outputs} outputs are too few for the transforms to pay")
    return g


def _needs_copy(work: Workload, g: Geometry) -> bool:
    """Tiles are cut from a padded copy of x: its sizes are not known at build, or its channels not innermost."""
    return not g.is_static or pixel_strides(input_type(work, 0)) is None


def _tile_count(g: Geometry, m: int) -> int:
    """Tiles of one image, of typical size where it is not known."""
    return -(-typical(g.out[1]) // m) * -(-typical(g.out[2]) // m)


def _block_tiles(g: Geometry, c: WinogradConfig) -> int:
    """Tiles of a block, evened out over the image where its size is known."""
    return c.block if not g.is_static else spread(_tile_count(g, c.m), c.block)[0][0]


def _scratch(g: Geometry, c: WinogradConfig, isa: Isa) -> int:
    return (c.m + 2) ** 2 * _block_tiles(g, c) * sum(row_lengths(g, c.vectors * isa.lanes, isa)) * 4


def _seconds(g: Geometry, isa: Isa, c: WinogradConfig) -> float:
    """Products, transforms at about two cycles a register, and filters from beyond the second-level cache."""
    points, tiles = (c.m + 2) ** 2, _tile_count(g, c.m)
    batch = typical(g.batch)
    panels = -(-g.outputs // (c.vectors * isa.lanes))
    rows_at_once = _block_tiles(g, c) if c.block else tiles * batch
    blocks = -(-tiles * batch // rows_at_once)
    steps = sum(
        n * (g.channels * step_cycles(size, c.vectors, isa, g.channels) + 20)
        for size, n in spread(rows_at_once, c.rows)
    )
    products = blocks * points * panels * steps
    arriving = points * panels * c.vectors * isa.lanes * g.channels * 4 * blocks / FILTER_BYTES_PER_CYCLE
    if arriving * FILTER_BYTES_PER_CYCLE <= SECOND_CACHE_BYTES * blocks:
        arriving /= blocks
    transformed = tiles * batch * points * (g.channels + g.outputs)
    cycles = max(products, arriving) + 0.25 * min(products, arriving) + 2.5 * transformed / isa.lanes
    if not c.block and transformed * 4 > SECOND_CACHE_BYTES:
        cycles += 2 * transformed * 4 / FILTER_BYTES_PER_CYCLE
    return cycles / CYCLES_PER_SECOND


PROVIDERS = (CpuWinograd(),)
