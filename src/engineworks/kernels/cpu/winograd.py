"""Winograd convolution for 3x3 kernels of stride 1: fewer multiply-adds for a little more memory traffic."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.codegen.llvm.tile import CACHE_LINE, Store, Tile, accumulate, plain_tile, store_tile
from engineworks.core import dtypes
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import (
    Arguments,
    Finish,
    Geometry,
    ImageParts,
    finish_of,
    geometry_of,
    input_type,
    pixel_strides,
    ranges,
    require_f32,
    tile_operands,
)
from engineworks.kernels.cpu.conv_cost import (
    CYCLES_PER_SECOND,
    FAR_FILTER_BYTES,
    MAX_FETCHING_TILES,
    SECOND_CACHE_BYTES,
    step_cycles,
)
from engineworks.kernels.cpu.conv_tiles import spread
from engineworks.kernels.cpu.winograd_transforms import Arithmetic, input_line, output_line, pack_filters
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Tactic
from engineworks.kernels.workload import Workload

MAX_SCRATCH_BYTES = 1 << 20
"""Transformed tiles of one block stay within the second-level cache, beside the filters."""
ROW_PAD = 16
"""Elements after each row of transformed data, so that rows do not lie a power of two apart."""
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
    """3x3 convolutions of stride 1, static in size, with constant filters, f32.

    Class attributes:
        fast: allow m = 4, whose error is about ten times that of direct convolution (4e-5 at unit variance).
    """

    name = "cpu.winograd"
    version = 2
    fast = True

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Tile sizes, register tiles and blocks by predicted time.

        Raises:
            NoTactic: another kernel size, stride, dilation or dtype, groups, sizes or filters not known at build.
        """
        g = _geometry(work)
        finish_of(work)
        tiles = ((14, 2), (6, 4), (8, 3)) if isa.registers >= 32 else ((6, 2), (4, 3))
        seen = []
        for m in (4, 2) if self.fast else (2,):
            for rows, vectors in tiles:
                for block in (0, rows, 2 * rows, 4 * rows):
                    config = WinogradConfig(m, rows, vectors, block)
                    if block == 0 and not isinstance(g.batch, int):
                        continue
                    if block and (_scratch(g, config, isa) > MAX_SCRATCH_BYTES or block >= 2 * _tile_count(g, m)):
                        continue
                    seen.append(Tactic(self.name, config, _seconds(g, isa, config)))
        seen.sort(key=lambda t: t.predicted_s)
        if not seen:
            raise NoTactic("no block of transformed tiles fits the second-level cache, and the batch is not known")
        return seen[: (1, 2, 3, 6, 10, 32)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """One step over blocks of tiles, or three steps: input transform, products, output transform."""
        g, end, parts = _geometry(work), finish_of(work), ImageParts()
        kernel = _Winograd(parts, work, g, tactic.config, isa, end)
        kernel.fused() if tactic.config.block else kernel.staged()
        return KernelImage(parts.functions, frozenset(parts.declarations), tuple(parts.steps), tuple(parts.packed),
                           tuple(parts.workspace), parts.scratch_bytes)


def _geometry(work: Workload) -> Geometry:
    require_f32(work)
    g = geometry_of(work)
    one = (1, 1, 1)
    if g.kernel != (1, 3, 3) or g.strides != one or g.dilations != one or g.groups != 1 or g.size[0] != 1:
        raise NoTactic("Winograd serves 3x3 kernels of stride 1, without dilation and groups")
    if not g.is_static or not work.inputs[1] or not work.inputs[1].constant:
        raise NoTactic("Winograd needs spatial sizes and filters that are known when the engine is built")
    if g.channels < 8 or g.outputs < 8:
        raise NoTactic(f"{g.channels} channels and {g.outputs} outputs are too few for the transforms to pay")
    if pixel_strides(input_type(work, 0)) is None:
        raise NoTactic(f"the input {input_type(work, 0)} does not have its channels innermost in memory")
    return g


def _tile_count(g: Geometry, m: int) -> int:
    return -(-int(g.out[1]) // m) * -(-int(g.out[2]) // m)


def _row_lengths(g: Geometry, c: WinogradConfig, isa: Isa) -> tuple[int, int]:
    """Elements of a row of transformed inputs, and of products."""
    width = c.vectors * isa.lanes
    return (-(-g.channels // isa.lanes) * isa.lanes + ROW_PAD, -(-g.outputs // width) * width + ROW_PAD)


def _block_tiles(g: Geometry, c: WinogradConfig) -> int:
    """Tiles of a block, evened out over the image."""
    return spread(_tile_count(g, c.m), c.block)[0][0]


def _scratch(g: Geometry, c: WinogradConfig, isa: Isa) -> int:
    return (c.m + 2) ** 2 * _block_tiles(g, c) * sum(_row_lengths(g, c, isa)) * 4


def _seconds(g: Geometry, isa: Isa, c: WinogradConfig) -> float:
    """Products, transforms at about two cycles a register, and filters from beyond the second-level cache."""
    points, tiles = (c.m + 2) ** 2, _tile_count(g, c.m)
    batch = g.batch if isinstance(g.batch, int) else 1
    panels = -(-g.outputs // (c.vectors * isa.lanes))
    rows_at_once = _block_tiles(g, c) if c.block else tiles * batch
    blocks = -(-tiles * batch // rows_at_once)
    steps = sum(n * (g.channels * step_cycles(size, c.vectors, isa, g.channels) + 20) for size, n in spread(rows_at_once, c.rows))
    products = blocks * points * panels * steps
    arriving = points * panels * c.vectors * isa.lanes * g.channels * 4 * blocks / FILTER_BYTES_PER_CYCLE
    if arriving * FILTER_BYTES_PER_CYCLE <= SECOND_CACHE_BYTES * blocks:
        arriving /= blocks
    transformed = tiles * batch * points * (g.channels + g.outputs)
    cycles = max(products, arriving) + 0.25 * min(products, arriving) + 2.5 * transformed / isa.lanes
    if not c.block and transformed * 4 > SECOND_CACHE_BYTES:
        cycles += 2 * transformed * 4 / FILTER_BYTES_PER_CYCLE
    return cycles / CYCLES_PER_SECOND


@dataclass(frozen=True, slots=True)
class _Border:
    """A kind of tile: which of its input rows [y0, y1) and columns [x0, x1) exist, and its output size."""

    y0: int
    y1: int
    x0: int
    x1: int
    height: int
    width: int


def _border_tiles(g: Geometry, m: int) -> dict[_Border, list[tuple[int, int]]]:
    """First output (y, x) of every tile, by kind."""
    found: dict[_Border, list[tuple[int, int]]] = {}
    top, left = int(g.before[1]), int(g.before[2])
    for oy in range(0, int(g.out[1]), m):
        for ox in range(0, int(g.out[2]), m):
            kind = _Border(max(0, top - oy), min(m + 2, int(g.size[1]) + top - oy), max(0, left - ox),
                           min(m + 2, int(g.size[2]) + left - ox), min(m, int(g.out[1]) - oy), min(m, int(g.out[2]) - ox))
            found.setdefault(kind, []).append((oy, ox))
    return found


class _Winograd:
    """One image while it is built."""

    def __init__(self, parts: ImageParts, work: Workload, g: Geometry, config: WinogradConfig, isa: Isa, end: Finish) -> None:
        self.parts, self.work, self.g, self.c, self.isa, self.end = parts, work, g, config, isa, end
        self.points, self.width = (config.m + 2) ** 2, config.vectors * isa.lanes
        self.panels = -(-g.outputs // self.width)
        self.in_row, self.out_row = _row_lengths(g, config, isa)
        self.kinds = _border_tiles(g, config.m)
        self.tiles = _tile_count(g, config.m)
        table = np.array([self._offsets(oy, ox) for tiles in self.kinds.values() for oy, ox in tiles], np.int64)
        self.table = parts.pack(lambda _: table)
        self.filters = parts.pack(lambda values: pack_filters(values, config.m, self.width))

    def _offsets(self, oy: int, ox: int) -> tuple[int, int]:
        """Elements from the image's start to the tile's first input and output."""
        g = self.g
        x = (oy - int(g.before[1])) * int(g.x_strides[2]) + (ox - int(g.before[2])) * int(g.x_strides[3])
        return x, oy * int(g.y_strides[2]) + ox * int(g.y_strides[3])

    # -- the two organisations --------------------------------------------------------------------------------
    def fused(self) -> None:
        """One step: a task takes a block of tiles through all stages in thread-private memory."""
        g, block = self.g, _block_tiles(self.g, self.c)
        blocks = -(-self.tiles // block)
        f = Function("winograd")
        arguments = Arguments(f)
        x, w, y = arguments.pointer(Input(0)), arguments.pointer(self.filters), arguments.pointer(Output(0))
        table = arguments.pointer(self.table)
        operands = {index: arguments.pointer(Input(index)) for index, _, _ in self.end.operands}
        products = f.at("%scratch", self.points * block * self.in_row * 4)
        with ranges(f, "%lo", "%hi", g.batch, blocks) as (image, low, high), f.loop(low, high) as number:
            first = f.mul(number, block)
            end = f.smin(f.add(first, block), self.tiles)
            image_x = f.at(x, f.mul(image, int(g.x_strides[0])), "float")
            self._inputs(f, image_x, table, "%scratch", (first, end), first, block)
            with f.loop(0, self.points) as point:
                self._products(f, "%scratch", w, products, point, (0, self.panels), block)
            self._outputs(f, products, y, f.mul(image, int(g.y_strides[0])), table, operands, (first, end), first, block)
        self.parts.scratch_bytes = _scratch(g, self.c, self.isa)
        self.parts.step("winograd", f, arguments, g.batch * blocks)

    def staged(self) -> None:
        """Three steps over all tiles of all images; the products are shared out by (point, panel)."""
        g, rows = self.g, self.tiles * int(self.g.batch)  # type: ignore[call-overload]
        inputs = self.parts.buffer(self.points * rows * self.in_row * 4)
        products = self.parts.buffer(self.points * rows * self.out_row * 4)
        f = Function("winograd_input")
        arguments = Arguments(f)
        x, table, to = arguments.pointer(Input(0)), arguments.pointer(self.table), arguments.pointer(inputs)
        with ranges(f, "%lo", "%hi", g.batch, self.tiles) as (image, low, high):
            here = f.at(to, f.mul(image, self.tiles * self.points * self.in_row * 4))
            self._inputs(f, f.at(x, f.mul(image, int(g.x_strides[0])), "float"), table, here, (low, high), 0, rows)
        self.parts.step("winograd_input", f, arguments, rows)
        f = Function("winograd_products")
        arguments = Arguments(f)
        source, w, to = arguments.pointer(inputs), arguments.pointer(self.filters), arguments.pointer(products)
        with ranges(f, "%lo", "%hi", self.points, self.panels) as (point, low, high):
            self._products(f, source, w, to, point, (low, high), rows)
        self.parts.step("winograd_products", f, arguments, self.points * self.panels)
        f = Function("winograd_output")
        arguments = Arguments(f)
        source, y, table = arguments.pointer(products), arguments.pointer(Output(0)), arguments.pointer(self.table)
        operands = {index: arguments.pointer(Input(index)) for index, _, _ in self.end.operands}
        with ranges(f, "%lo", "%hi", g.batch, self.tiles) as (image, low, high):
            here = f.at(source, f.mul(image, self.tiles * self.points * self.out_row * 4))
            self._outputs(f, here, y, f.mul(image, int(g.y_strides[0])), table, operands, (low, high), 0, rows)
        self.parts.step("winograd_output", f, arguments, rows)

    # -- stages -----------------------------------------------------------------------------------------------
    def _by_kind(self, f: Function, span: tuple[Size, Size]) -> Iterable[tuple[_Border, Size]]:
        """Loops over the tiles of `span`, kind by kind; yields the kind and the tile inside of its loop."""
        done = 0
        for kind, tiles in self.kinds.items():
            low, high = f.smax(span[0], done), f.smin(span[1], done + len(tiles))
            done += len(tiles)
            with f.loop(low, high) as tile:
                yield kind, tile

    def _inputs(self, f: Function, x: str, table: str, to: str, span: tuple[Size, Size], first: Size, rows: int) -> None:
        """Transform the tiles of `span` to rows (tile - first) of [points][rows][channels] at `to`."""
        g, lanes = self.g, self.isa.lanes
        for kind, tile in self._by_kind(f, span):
            offset = f.value(f"load i64, ptr {f.at(table, f.mul(tile, 16))}")
            source = f.value(f"getelementptr float, ptr {x}, i64 {offset}")
            target = f.at(to, f.mul(f.sub(tile, first), self.points * self.in_row * 4))
            whole = g.channels // lanes * lanes
            if whole:
                with f.loop(0, whole, lanes) as channel:
                    self._input_tile(f, kind, f.at(source, channel, "float"), f.at(target, channel, "float"), None, rows)
            if whole < g.channels:
                mask = iota_below(f, lanes, g.channels - whole)
                self._input_tile(f, kind, f.at(source, whole, "float"), f.at(target, whole, "float"), mask, rows)

    def _input_tile(self, f: Function, kind: _Border, source: str, target: str, mask: str | None, rows: int) -> None:
        g, size, lanes = self.g, self.c.m + 2, self.isa.lanes
        arithmetic = Arithmetic(f, self.isa)

        def element(y: int, x: int) -> str:
            if not (kind.y0 <= y < kind.y1 and kind.x0 <= x < kind.x1):
                return "zeroinitializer"
            at = y * int(g.x_strides[2]) + x * int(g.x_strides[3])
            return load_vector(f, lanes, dtypes.f32, f.at(source, at, "float"), mask)

        columns = [input_line(arithmetic, [element(y, x) for y in range(size)], self.c.m) for x in range(size)]
        for i in range(size):
            for j, value in enumerate(input_line(arithmetic, [columns[x][i] for x in range(size)], self.c.m)):
                at = f.at(target, (i * size + j) * self.in_row * 4)
                store_vector(f, lanes, dtypes.f32, at, value)

    def _products(self, f: Function, source: str, w: str, to: str, point: Size, panels: tuple[Size, Size], rows: int) -> None:
        """The matrix product of one point: rows x channels by channels x outputs."""
        a_point = f.at(source, f.mul(point, self.in_row * 4))
        c_point = f.at(to, f.mul(point, self.out_row * 4))
        panel_bytes = self.g.channels * self.width * 4
        with f.loop(*panels) as panel:
            b = f.at(w, f.add(f.mul(point, self.panels * panel_bytes), f.mul(panel, panel_bytes)))
            done, tiles = 0, -(-rows // self.c.rows)
            for size, number in spread(rows, self.c.rows):
                with f.loop(done, done + size * number, size) as row:
                    a = f.at(a_point, f.mul(row, self.points * self.in_row * 4))
                    code = replace(self._tile(size), ahead=self._ahead(f, f.udiv(f.sub(row, done), size), tiles))
                    sums = accumulate(f, self.isa, code, a, b)
                    element = f.add(f.mul(row, self.points * self.out_row), f.mul(panel, self.width))
                    offsets = tuple(r * self.points * self.out_row for r in range(size))
                    store_tile(f, self.isa, sums, Store(f.at(c_point, element, "float"), offsets))
                done += size * number

    def _ahead(self, f: Function, tile: Size, tiles: int) -> tuple[Size, int] | None:
        """The tiles of a panel share the work of bringing in the next one, where filters come from far."""
        panel_bytes = self.g.channels * self.width * 4
        if self.points * self.panels * panel_bytes <= FAR_FILTER_BYTES or tiles > MAX_FETCHING_TILES:
            return None
        unroll = self._tile(1).unroll
        lines = -(-unroll * self.width * 4 // (CACHE_LINE * tiles))
        return f.add(panel_bytes, f.mul(tile, lines * CACHE_LINE)), lines

    def _tile(self, size: int) -> Tile:
        return plain_tile([r * self.points * self.in_row * 4 for r in range(size)], self.c.vectors, self.g.channels, self.isa)

    def _outputs(self, f: Function, source: str, y: str, image: Size, table: str, operands: dict[int, str],
                 span: tuple[Size, Size], first: Size, rows: int) -> None:
        """Transform rows (tile - first) of [points][rows][outputs] back and store them through the epilogue."""
        g, lanes = self.g, self.isa.lanes
        whole = g.outputs // lanes * lanes
        for kind, tile in self._by_kind(f, span):
            element = f.add(image, f.value(f"load i64, ptr {f.at(table, f.add(f.mul(tile, 16), 8))}"))
            here = f.at(source, f.mul(f.sub(tile, first), self.points * self.out_row * 4))
            if whole:
                with f.loop(0, whole, lanes) as channel:
                    self._output_tile(f, kind, here, y, operands, element, channel, None, rows)
            if whole < g.outputs:
                self._output_tile(f, kind, here, y, operands, element, whole, g.outputs - whole, rows)

    def _output_tile(self, f: Function, kind: _Border, source: str, y: str, operands: dict[int, str], element: Size,
                     channel: Size, count: int | None, rows: int) -> None:
        size, lanes, g = self.c.m + 2, self.isa.lanes, self.g
        arithmetic = Arithmetic(f, self.isa)
        base = f.at(source, channel, "float")

        def product(i: int, j: int) -> str:
            return load_vector(f, lanes, dtypes.f32, f.at(base, (i * size + j) * self.out_row * 4))

        columns = [output_line(arithmetic, [product(i, j) for i in range(size)], self.c.m) for j in range(size)]
        lines = [output_line(arithmetic, [columns[j][i] for j in range(size)], self.c.m) for i in range(kind.height)]
        sums: Sequence[Sequence[str]] = [[line[x]] for line in lines for x in range(kind.width)]
        offsets = tuple(dy * int(g.y_strides[2]) + dx * int(g.y_strides[3]) for dy in range(kind.height) for dx in range(kind.width))
        at, dtype = f.add(element, channel), self.work.outputs[0].dtype
        given = tile_operands(f, operands, self.end, at, channel)
        pointer = f.at(y, f.mul(at, dtype.size_bytes))
        store_tile(f, self.isa, sums, Store(pointer, offsets, dtype, count, self.end.expression, given))


PROVIDERS = (CpuWinograd(),)
