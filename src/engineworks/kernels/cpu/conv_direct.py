"""Direct convolution: the register tile of matmul over output pixels, channels-last, without an im2col buffer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.tile import CACHE_LINE, Tile, accumulate
from engineworks.core.dims import Dim
from engineworks.kernels.cpu.conv import (
    Geometry,
    geometry_of,
    known,
    padded,
    pixel_strides,
    ranges,
    require_f32,
)
from engineworks.kernels.cpu.conv_cost import FAR_FILTER_BYTES, MAX_FETCHING_TILES, best_tiles, direct_seconds
from engineworks.kernels.cpu.conv_epilogue import (
    Outputs,
    OutputTile,
    fetch_operands,
    finish_of,
    outputs_of,
    store_sums,
)
from engineworks.kernels.cpu.conv_filters import filters_word
from engineworks.kernels.cpu.conv_problem import ConvProblem
from engineworks.kernels.cpu.conv_rows import emit_rows, row_tiles
from engineworks.kernels.cpu.conv_stage import stage_input
from engineworks.kernels.cpu.conv_tiles import Tiling, Variant, flat_tiling, window_tiling
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Tactic, Word
from engineworks.kernels.workload import Workload, input_type

MAX_VARIANTS = 30
"""Border variants beyond which the padding is copied instead: each costs code and compile time."""


@dataclass(frozen=True, slots=True)
class DirectConfig:
    """One way to run a direct convolution.

    Attributes:
        height, width: output pixels of a register tile (of flattened pixels: height 1).
        vectors: registers across the outputs.
        order: what threads share out: 'tiles' (each thread runs all panels over its tiles) or 'panels'.
        block: tiles that stay in cache while all panels pass over them; 0: all of a thread's.
        unroll: k steps in one turn of the innermost loop.
        fetch: cache lines of the next panel that each turn brings nearer; the tiles of one panel share the work.
    """

    height: int
    width: int
    vectors: int
    order: Literal["tiles", "panels"] = "tiles"
    block: int = 0
    unroll: int = 4
    fetch: int = 0


class CpuConvDirect:
    """Convolutions of f32 with any stride, dilation, padding and groups, static or dynamic in size."""

    name = "cpu.conv_direct"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Tiles with the best predicted time, then orders and blocks around them.

        Raises:
            NoTactic: not an f32 convolution whose output has its channels innermost.
        """
        require_f32(work)
        g = geometry_of(work)
        finish_of(work)
        seen = [
            Tactic(self.name, c, direct_seconds(g, isa, c.height, c.width, c.vectors))
            for c in configs_of(g, isa)
        ]
        seen.sort(key=lambda t: t.predicted_s)
        return seen[: (1, 2, 4, 8, 16, 64)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """The image: [pack filters] [copy x], then the tiles."""
        config: DirectConfig = tactic.config
        g, end, parts = geometry_of(work), finish_of(work), ImageParts()
        filters = filters_word(parts, work, g, config.vectors * isa.lanes)
        source: Word = Input(0)
        if _needs_copy(work, g):
            target = padded(g)
            source = stage_input(parts, input_type(work, 0), g, target, isa)
            g = target
        direct_step(parts, ConvProblem(work, g, end, source, filters), config, isa)
        return parts.image()


def direct_step(parts: ImageParts, problem: ConvProblem, config: DirectConfig, isa: Isa) -> None:
    """Append the step that computes `problem`."""
    if problem.g.is_static:
        _tiles_step(parts, problem, config, isa)
    else:
        emit_rows(parts, problem, config.width, config.vectors, config.unroll, isa)


def _needs_copy(work: Workload, g: Geometry) -> bool:
    if pixel_strides(input_type(work, 0)) is None:
        return True
    return g.has_padding and (not g.is_static or _border_variants(g) > MAX_VARIANTS)


def _border_variants(g: Geometry) -> int:
    """About how many kinds of border tiles there are."""

    def kinds(axis: int) -> int:
        touched = -(-known(g.before[axis]) // g.strides[axis]) + -(-known(g.after[axis]) // g.strides[axis])
        return 1 + min(touched, known(g.out[axis]))

    return kinds(0) * kinds(1) * min(kinds(2), 4)


def configs_of(g: Geometry, isa: Isa) -> list[DirectConfig]:
    """Tiles with orders and blocks, the most promising tiles first."""
    if not g.is_static:
        return [DirectConfig(1, rows, vectors) for rows, vectors in row_tiles(isa)]
    flat = g.is_pointwise
    chosen = best_tiles(g, isa, flat=flat)
    out: list[DirectConfig] = []
    for height, width, vectors in chosen:
        panels = -(-g.group_outputs // (vectors * isa.lanes)) * g.groups
        tiles = -(-known(g.out[1]) // height) * -(-known(g.out[2]) // width) * known(g.out[0])
        if flat:
            tiles = -(-known(g.out[0]) * known(g.out[1]) * known(g.out[2]) // width)
        base = DirectConfig(height, width, vectors)
        weights = g.depth * g.outputs * 4
        if weights > FAR_FILTER_BYTES and tiles <= MAX_FETCHING_TILES:
            base = replace(base, fetch=-(-base.unroll * vectors * isa.lanes * 4 // (CACHE_LINE * tiles)))
        x_bytes = known(g.x_strides[0]) * 4
        orders: list[DirectConfig] = []
        if panels >= 4 and (tiles < 24 or weights > x_bytes):
            orders.append(replace(base, order="panels"))
        if x_bytes > 1 << 19 and panels > 1:
            orders.append(replace(base, block=8))
        orders.append(base)
        if panels > 1 and len(orders) == 1:
            orders.append(replace(base, block=8))
        out += orders
    return out


# -- the static kernel ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Kernel:
    """What the emission of one static kernel needs at hand."""

    f: Function
    isa: Isa
    g: Geometry
    config: DirectConfig
    tiling: Tiling
    images: Dim
    image_steps: tuple[Dim, Dim]
    x: str
    w: str
    table: str
    outputs: Outputs

    @property
    def width(self) -> int:
        return self.config.vectors * self.isa.lanes

    @property
    def panels(self) -> int:
        """Panels of one group."""
        return -(-self.g.group_outputs // self.width)


def _tiles_step(parts: ImageParts, problem: ConvProblem, config: DirectConfig, isa: Isa) -> None:
    g = problem.g
    images, steps = g.batch, (g.x_strides[0], g.y_strides[0])
    if g.is_pointwise:
        pixels = known(g.out[0]) * known(g.out[1]) * known(g.out[2])
        if isinstance(g.batch, int):
            pixels, images = pixels * g.batch, 1
        tiling = flat_tiling(g, pixels, config.height * config.width)
    else:
        tiling = window_tiling(g, config.height, config.width)
    f = Function("conv_direct")
    arguments = Words(f)
    table = parts.pack(lambda _: tiling.table)
    x, w = arguments.pointer(problem.source), arguments.pointer(problem.filters)
    arguments.pointer(Output(0))  # before the table: arguments are numbered as they are asked for
    at = arguments.pointer(table)
    outputs = outputs_of(arguments, problem.work, problem.end)
    kernel = _Kernel(f, isa, g, config, tiling, images, steps, x, w, at, outputs)
    tasks = _emit_tasks(kernel, arguments)
    parts.step("conv_direct", f, arguments, tasks)


def _emit_tasks(k: _Kernel, arguments: Words) -> Dim:
    """The loops over panels, images and tiles; the size of the task space."""
    f, count = k.f, k.tiling.count
    images = arguments.size(k.images)
    panels = k.panels * k.g.groups
    if k.config.order == "panels":
        with f.loop(f.udiv("%lo", f.mul(images, count)), f.ceil_div("%hi", f.mul(images, count))) as panel:
            start = f.mul(panel, f.mul(images, count))
            low = f.smax(f.sub("%lo", start), 0)
            high = f.smin(f.sub("%hi", start), f.mul(images, count))
            with ranges(f, low, high, k.images, count) as (image, first, end):
                _emit_variants(k, image, panel, first, end)
        return k.images * count * panels
    with ranges(f, "%lo", "%hi", k.images, count) as (image, first, end):
        if k.config.block and panels > 1:
            with f.loop(first, end, k.config.block) as start:
                stop = f.smin(f.add(start, k.config.block), end)
                with f.loop(0, panels) as panel:
                    _emit_variants(k, image, panel, start, stop)
        elif panels > 1:
            with f.loop(0, panels) as panel:
                _emit_variants(k, image, panel, first, end)
        else:
            _emit_variants(k, image, 0, first, end)
    return k.images * count


def _emit_variants(k: _Kernel, image: Size, panel: Size, first: Size, end: Size) -> None:
    f, single = k.f, len(k.tiling.variants) == 1
    for variant in k.tiling.variants:
        low = first if single else f.smax(first, variant.first)
        high = end if single else f.smin(end, variant.first + variant.count)
        with f.loop(low, high) as tile:
            _emit_tile(k, variant, image, panel, tile)


def _emit_tile(k: _Kernel, variant: Variant, image: Size, panel: Size, tile: Size) -> None:
    f, g, width = k.f, k.g, k.width
    entry = f.at(k.table, f.mul(tile, 16))
    group, within = (0, panel) if g.groups == 1 else (f.udiv(panel, k.panels), f.urem(panel, k.panels))
    x_shift = f.add(f.mul(image, f.mul(k.image_steps[0], 4)), f.mul(group, g.group_channels * 4))  # type: ignore[arg-type]
    x = f.at(k.x, x_shift)
    x = f.value(f"getelementptr i8, ptr {x}, i64 {f.value(f'load i64, ptr {entry}')}")
    w = f.at(k.w, f.mul(panel, g.depth * width * 4))
    column = f.mul(within, width)
    channel = f.add(f.mul(group, g.group_outputs), column)
    pixel = f.value(f"load i64, ptr {f.at(entry, 8)}")
    element = f.add(f.add(f.mul(image, k.image_steps[1]), pixel), channel)  # type: ignore[arg-type]
    fetch_operands(f, k.outputs.operands, k.outputs.end, variant.out_rows, element, width)
    ahead = (
        (f.add(g.depth * width * 4, f.mul(tile, k.config.fetch * CACHE_LINE)), k.config.fetch)
        if k.config.fetch
        else None
    )
    code = Tile(
        variant.rows,
        k.config.vectors,
        variant.segments,
        width * 4,
        k.config.unroll,
        b_align=k.isa.lanes * 4,
        ahead=ahead,
    )
    sums = accumulate(f, k.isa, code, x, w)
    stored = OutputTile(variant.out_rows, element, channel, f.sub(g.group_outputs, column), g.group_outputs)
    store_sums(f, k.isa, sums, k.outputs, stored)


PROVIDERS = (CpuConvDirect(),)
