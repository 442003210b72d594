"""The kernel of depthwise convolutions: registers run over channels, tiles over output pixels.

Elements of every dtype are multiplied and summed in f32, which holds the sums of 8-bit products exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector
from engineworks.codegen.llvm.tile import Store, store_tile
from engineworks.codegen.llvm.vector import Vector, register_kind, storage_kind
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.kernels.cpu.conv import (
    Geometry,
    known,
    ranges,
    valid_taps,
)
from engineworks.kernels.cpu.conv_epilogue import Finish, tile_operands
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Output, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._product_types import product_dtype
from engineworks.ops.conv import Conv

MAX_UNROLLED_TAPS = 49
"""Kernels with more taps loop over them at run time."""
HELD_TAPS = 9
"""Kernels up to this size keep all of their weights in registers; larger ones a row at a time."""


@dataclass(frozen=True, slots=True)
class DepthwiseConfig:
    """Output pixels of a tile, and whether borders are variants ('static') or found at run time ('rows')."""

    height: int
    width: int
    borders: str = "static"


@dataclass(frozen=True, slots=True)
class Border:
    """A kind of tile: its output rows and columns, and which of its input rows [y0, y1) and columns [x0, x1) exist."""

    height: int
    width: int
    y0: int
    y1: int
    x0: int
    x1: int


def border_tiles(g: Geometry, height: int, width: int) -> dict[Border, list[tuple[int, int]]]:
    """First output (y, x) of every tile, by kind."""
    found: dict[Border, list[tuple[int, int]]] = {}
    (_, down, across), (_, rows, columns) = g.out, g.size
    for oy in range(0, known(down), height):
        for ox in range(0, known(across), width):
            h, w = min(height, known(down) - oy), min(width, known(across) - ox)
            top, left = oy * g.strides[1] - known(g.before[1]), ox * g.strides[2] - known(g.before[2])
            in_h = (h - 1) * g.strides[1] + (g.kernel[1] - 1) * g.dilations[1] + 1
            in_w = (w - 1) * g.strides[2] + (g.kernel[2] - 1) * g.dilations[2] + 1
            kind = Border(
                h,
                w,
                max(0, -top),
                min(in_h, known(rows) - top),
                max(0, -left),
                min(in_w, known(columns) - left),
            )
            found.setdefault(kind, []).append((oy, ox))
    return found


class DepthwiseKernel:
    """One kernel while it is emitted."""

    def __init__(
        self,
        f: Function,
        isa: Isa,
        g: Geometry,
        config: DepthwiseConfig,
        work: Workload,
        end: Finish,
        arguments: Words,
        filters: Word,
    ) -> None:
        self.f, self.isa, self.g, self.config = f, isa, g, config
        self.work, self.end, self.arguments = work, end, arguments
        self.dtype = input_type(work, 0).dtype
        self.kind = storage_kind(self.dtype)
        assert isinstance(work.anchor, Conv), f"{work.anchor} is not a convolution"
        self.sum = product_dtype(self.dtype, input_type(work, 1).dtype, work.anchor.out_dtype)
        self.x, self.w = arguments.pointer(Input(0)), arguments.pointer(filters)
        self.y = arguments.pointer(Output(0))
        self.operands = {index: arguments.pointer(Input(index)) for index, _, _ in end.operands}
        self.vector = f"<{isa.lanes} x float>"
        self.padded = -(-g.channels // isa.lanes) * isa.lanes
        self.x_strides, self.y_strides = arguments.sizes(g.x_strides), arguments.sizes(g.y_strides)

    # -- all sizes known --------------------------------------------------------------------------------------
    def static(self, parts: ImageParts) -> Dim:
        """Loops over the kinds of tiles; the number of tasks."""
        f, g = self.f, self.g
        kinds = border_tiles(g, self.config.height, self.config.width)
        table = np.array([self._offsets(oy, ox) for tiles in kinds.values() for oy, ox in tiles], np.int64)
        at = self.arguments.pointer(parts.pack(lambda _: table))
        self.arguments.size(g.batch)
        with ranges(f, "%lo", "%hi", g.batch, len(table)) as (image, first, end):
            done = 0
            for kind, tiles in kinds.items():
                low, high = f.smax(first, done), f.smin(end, done + len(tiles))
                done += len(tiles)
                with f.loop(low, high) as tile:
                    entry = f.at(at, f.mul(tile, 16))
                    x = f.add(f.mul(image, self.x_strides[0]), f.value(f"load i64, ptr {entry}"))
                    y = f.add(f.mul(image, self.y_strides[0]), f.value(f"load i64, ptr {f.at(entry, 8)}"))
                    self._over_channels(x, y, self._unrolled(kind), self._out_rows(kind.height, kind.width))
        return g.batch * len(table)

    def _offsets(self, oy: int, ox: int) -> tuple[int, int]:
        g = self.g
        x_row, x_pixel = known(g.x_strides[2]), known(g.x_strides[3])
        top, left = oy * g.strides[1] - known(g.before[1]), ox * g.strides[2] - known(g.before[2])
        return top * x_row + left * x_pixel, oy * known(g.y_strides[2]) + ox * known(g.y_strides[3])

    def _out_rows(self, height: int, width: int) -> tuple[Size, ...]:
        f = self.f
        return tuple(
            f.add(f.mul(dy, self.y_strides[2]), f.mul(dx, self.y_strides[3]))
            for dy in range(height)
            for dx in range(width)
        )

    def _over_channels(
        self, x: Size, y: Size, sums: Callable[[str, Size, str | None], list[str]], rows: tuple[Size, ...]
    ) -> None:
        """All channels of one tile, whose window starts at element x and whose first output is element y."""
        f, lanes, channels = self.f, self.isa.lanes, self.g.channels
        base = f.value(f"getelementptr {self.kind}, ptr {self.x}, i64 {x}")
        whole = channels // lanes * lanes

        def block(channel: Size, count: int | None) -> None:
            mask = None if count is None else iota_below(f, lanes, count)
            results = [[self._summed(s)] for s in sums(f.at(base, channel, self.kind), channel, mask)]
            element = f.add(y, channel)
            dtype = self.work.outputs[0].dtype
            pointer = f.at(self.y, f.mul(element, dtype.size_bytes))
            given = tile_operands(f, self.operands, self.end, element, channel)
            store = Store(pointer, rows, dtype, count, self.end.expression, given, self.sum)
            store_tile(f, self.isa, results, store)

        if whole:
            with f.loop(0, whole, lanes) as channel:
                block(channel, None)
        if whole < channels:
            block(whole, channels - whole)

    def _element(self, pointer: str, mask: str | None) -> str:
        """Elements of x in f32."""
        lanes = self.isa.lanes
        value = load_vector(self.f, lanes, self.dtype, pointer, mask)
        decoded = casts.decode(self.dtype, Vector(self.f, self.isa, register_kind(self.dtype), lanes, value))
        return casts.cast(decoded, self.dtype, dtypes.f32).name

    def _summed(self, total: str) -> str:
        """The sums as the dtype of the anchor's result."""
        wide = Vector(self.f, self.isa, "float", self.isa.lanes, total)
        return casts.cast(wide, dtypes.f32, self.sum).name

    def _weight(self, i: int, j: int, channel: Size) -> str:
        at = self.f.add(channel, (i * self.g.kernel[2] + j) * self.padded)
        return load_vector(
            self.f, self.isa.lanes, dtypes.f32, self.f.at(self.w, at, "float"), align=self.isa.lanes * 4
        )

    def _unrolled(self, kind: Border) -> Callable[[str, Size, str | None], list[str]]:
        """The sums of a tile with every multiply-add written out."""
        g, f = self.g, self.f

        def sums(base: str, channel: Size, mask: str | None) -> list[str]:
            totals = ["zeroinitializer"] * (kind.height * kind.width)
            by_rows = g.kernel[1] * g.kernel[2] > HELD_TAPS
            rows_of_taps = [[i] for i in range(g.kernel[1])] if by_rows else [list(range(g.kernel[1]))]
            for taps in rows_of_taps:
                weights = {(i, j): self._weight(i, j, channel) for i in taps for j in range(g.kernel[2])}
                for iy in range(kind.y0, kind.y1):
                    pairs_y = _pairs(iy, taps, kind.height, g.strides[1], g.dilations[1])
                    for ix in range(kind.x0, kind.x1) if pairs_y else ():
                        pairs_x = _pairs(ix, range(g.kernel[2]), kind.width, g.strides[2], g.dilations[2])
                        if not pairs_x:
                            continue
                        at = f.add(f.mul(iy, self.x_strides[2]), f.mul(ix, self.x_strides[3]))
                        value = self._element(f.at(base, at, self.kind), mask)
                        for i, y in pairs_y:
                            for j, x in pairs_x:
                                place = y * kind.width + x
                                totals[place] = self._fma(value, weights[i, j], totals[place])
            return totals

        return sums

    def _fma(self, a: str, b: str, c: str) -> str:
        v = self.vector
        return self.f.call(v, f"llvm.fma.v{self.isa.lanes}f32", f"{v} {a}", f"{v} {b}", f"{v} {c}")

    # -- borders found at run time ----------------------------------------------------------------------------
    def rows(self) -> Dim:
        """A task is an output row: pixels whose window leaves the input one by one, the others in tiles."""
        f, g, arguments = self.f, self.g, self.arguments
        down, across = arguments.size(g.out[1]), arguments.size(g.out[2])
        height, width = arguments.size(g.size[1]), arguments.size(g.size[2])
        top, left = arguments.size(g.before[1]), arguments.size(g.before[2])
        reach_h, reach_w = (g.kernel[1] - 1) * g.dilations[1] + 1, (g.kernel[2] - 1) * g.dilations[2] + 1
        first = f.smin(f.ceil_div(left, g.strides[2]), across)
        room = f.sub(f.add(width, left), reach_w)
        fits = f.smax(f.add(f.udiv(f.smax(room, 0), g.strides[2]), 1), 0)
        last = f.smax(f.smin(fits, across), first)
        none = f.compare("slt", room, 0)
        last = f.value(f"select i1 {none}, i64 {first}, i64 {last}")
        with f.loop("%lo", "%hi") as task:
            oy, image = f.urem(task, down), f.udiv(task, down)
            iy = f.sub(f.mul(oy, g.strides[1]), top)
            x = f.add(f.mul(image, self.x_strides[0]), f.mul(iy, self.x_strides[2]))
            y = f.add(f.mul(image, self.y_strides[0]), f.mul(oy, self.y_strides[2]))
            above = f.compare("sge", iy, 0)
            below = f.compare("sle", f.add(iy, reach_h), height)
            inside = f.value(f"and i1 {above}, {below}")
            low = f.value(f"select i1 {inside}, i64 {first}, i64 {across}")
            high = f.value(f"select i1 {inside}, i64 {last}, i64 {across}")
            whole = f.add(low, f.mul(f.udiv(f.sub(high, low), self.config.width), self.config.width))
            with f.loop(low, whole, self.config.width) as pixel:
                self._row_tile(self.config.width, pixel, x, y, left)
            with f.loop(whole, high) as pixel:
                self._row_tile(1, pixel, x, y, left)
            for begin, stop in ((0, low), (high, across)):
                with f.loop(begin, stop) as pixel:
                    self._border_pixel(pixel, iy, x, y, (height, width), left)
        return g.batch * g.out[1]

    def _row_tile(self, width: int, pixel: Size, x: Size, y: Size, left: Size) -> None:
        f, g = self.f, self.g
        column = f.sub(f.mul(pixel, g.strides[2]), left)
        start = f.add(x, f.mul(column, self.x_strides[3]))
        out = f.add(y, f.mul(pixel, self.y_strides[3]))
        columns = (width - 1) * g.strides[2] + (g.kernel[2] - 1) * g.dilations[2] + 1
        kind = Border(1, width, 0, (g.kernel[1] - 1) * g.dilations[1] + 1, 0, columns)
        small = g.kernel[1] * g.kernel[2] <= MAX_UNROLLED_TAPS
        sums = self._unrolled(kind) if small else self._looped(width, (0, g.kernel[1]), (0, g.kernel[2]))
        self._over_channels(start, out, sums, self._out_rows(1, width))

    def _border_pixel(
        self, pixel: Size, iy: Size, x: Size, y: Size, size: tuple[Size, Size], left: Size
    ) -> None:
        f, g = self.f, self.g
        ix = f.sub(f.mul(pixel, g.strides[2]), left)
        taps = [
            valid_taps(f, start, size[a], g.kernel[1 + a], g.dilations[1 + a])
            for a, start in enumerate((iy, ix))
        ]
        start, out = f.add(x, f.mul(ix, self.x_strides[3])), f.add(y, f.mul(pixel, self.y_strides[3]))
        self._over_channels(start, out, self._looped(1, taps[0], taps[1]), self._out_rows(1, 1))

    def _looped(
        self, width: int, down: tuple[Size, Size], across: tuple[Size, Size]
    ) -> Callable[[str, Size, str | None], list[str]]:
        """The sums of `width` pixels of a row, with loops over the taps."""
        f, g = self.f, self.g

        def sums(base: str, channel: Size, mask: str | None) -> list[str]:
            totals = [f.variable(self.vector, "zeroinitializer") for _ in range(width)]
            with f.loop(*down) as i, f.loop(*across) as j:
                tap = f.add(f.mul(i, g.kernel[2]), j)
                weight = load_vector(
                    f,
                    self.isa.lanes,
                    dtypes.f32,
                    f.at(self.w, f.add(f.mul(tap, self.padded), channel), "float"),
                )
                here = f.add(
                    f.mul(f.mul(i, g.dilations[1]), self.x_strides[2]),
                    f.mul(f.mul(j, g.dilations[2]), self.x_strides[3]),
                )
                for k, total in enumerate(totals):
                    at = f.add(here, f.mul(k * g.strides[2], self.x_strides[3]))
                    pointer = f.value(f"getelementptr {self.kind}, ptr {base}, i64 {at}")
                    value = self._element(pointer, mask)
                    f.set(self.vector, total, self._fma(value, weight, f.get(self.vector, total)))
            return [f.get(self.vector, total) for total in totals]

        return sums


def _pairs(
    position: int, taps: Iterable[int], outputs: int, stride: int, dilation: int
) -> list[tuple[int, int]]:
    """(tap, output) pairs that read input `position` of a tile's window."""
    out = []
    for tap in taps:
        distance = position - tap * dilation
        if distance >= 0 and distance % stride == 0 and distance // stride < outputs:
            out.append((tap, distance // stride))
    return out
