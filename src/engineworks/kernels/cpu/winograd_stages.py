"""The three stages of a Winograd convolution on one tile or block, wherever tiles come from and go to.

Transformed data lies as [tile][point][channel] f32, rows of channels padded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.codegen.llvm.tile import CACHE_LINE, Store, Tile, accumulate, plain_tile, store_tile
from engineworks.core import dtypes
from engineworks.kernels.cpu.conv import Geometry
from engineworks.kernels.cpu.conv_cost import FAR_FILTER_BYTES, MAX_FETCHING_TILES
from engineworks.kernels.cpu.conv_epilogue import Finish, tile_operands
from engineworks.kernels.cpu.conv_tiles import spread
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.winograd_transforms import Arithmetic, input_line, output_line, pack_filters
from engineworks.kernels.tactic import Packed
from engineworks.kernels.workload import Workload

ROW_PAD = 16
"""Elements after each row of transformed data, so that rows do not lie a power of two apart."""


@dataclass(frozen=True, slots=True)
class Border:
    """A kind of tile: which of its input rows [y0, y1) and columns [x0, x1) exist, and its output size."""

    y0: int
    y1: int
    x0: int
    x1: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Strides:
    """Elements between rows and between pixels of x and of y."""

    x_row: Size
    x_pixel: Size
    y_row: Size
    y_pixel: Size


def row_lengths(g: Geometry, width: int, isa: Isa) -> tuple[int, int]:
    """Elements of a row of transformed inputs, and of products in panels of `width`."""
    return (-(-g.channels // isa.lanes) * isa.lanes + ROW_PAD, -(-g.outputs // width) * width + ROW_PAD)


class Stages:
    """The stages of F(m x m, 3 x 3) with register tiles of `rows` x `vectors`."""

    def __init__(
        self, work: Workload, g: Geometry, m: int, rows: int, vectors: int, isa: Isa, end: Finish
    ) -> None:
        self.work, self.g, self.m, self.rows, self.vectors, self.isa, self.end = (
            work,
            g,
            m,
            rows,
            vectors,
            isa,
            end,
        )
        self.points, self.width = (m + 2) ** 2, vectors * isa.lanes
        self.panels = -(-g.outputs // self.width)
        self.in_row, self.out_row = row_lengths(g, self.width, isa)

    @property
    def in_bytes(self) -> int:
        """Of one transformed tile."""
        return self.points * self.in_row * 4

    @property
    def out_bytes(self) -> int:
        """Of the products of one tile."""
        return self.points * self.out_row * 4

    def filters(self, parts: ImageParts) -> Packed:
        """The transformed filters, packed at build."""
        return parts.pack(lambda values: pack_filters(values, self.m, self.width))

    def _over_channels(self, f: Function, channels: int, emit: Callable[[Size, int | None], None]) -> None:
        """emit(first channel, None) for whole registers, then emit(first, how many)."""
        lanes = self.isa.lanes
        whole = channels // lanes * lanes
        if whole:
            with f.loop(0, whole, lanes) as channel:
                emit(channel, None)
        if whole < channels:
            emit(whole, channels - whole)

    # -- inputs -----------------------------------------------------------------------------------------------
    def transform_input(self, f: Function, kind: Border, strides: Strides, source: str, target: str) -> None:
        """All channels of the tile whose first (perhaps absent) input is at `source`."""

        def emit(channel: Size, count: int | None) -> None:
            mask = None if count is None else iota_below(f, self.isa.lanes, count)
            self._input_registers(
                f, kind, strides, f.at(source, channel, "float"), f.at(target, channel, "float"), mask
            )

        self._over_channels(f, self.g.channels, emit)

    def _input_registers(
        self, f: Function, kind: Border, strides: Strides, source: str, target: str, mask: str | None
    ) -> None:
        size, arithmetic = self.m + 2, Arithmetic(f, self.isa)

        def element(y: int, x: int) -> str:
            if not (kind.y0 <= y < kind.y1 and kind.x0 <= x < kind.x1):
                return "zeroinitializer"
            at = f.add(f.mul(y, strides.x_row), f.mul(x, strides.x_pixel))
            return load_vector(f, self.isa.lanes, dtypes.f32, f.at(source, at, "float"), mask)

        columns = [input_line(arithmetic, [element(y, x) for y in range(size)], self.m) for x in range(size)]
        for i in range(size):
            for j, value in enumerate(input_line(arithmetic, [columns[x][i] for x in range(size)], self.m)):
                store_vector(
                    f, self.isa.lanes, dtypes.f32, f.at(target, (i * size + j) * self.in_row * 4), value
                )

    # -- products ---------------------------------------------------------------------------------------------
    def multiply(
        self, f: Function, source: str, w: str, to: str, point: Size, panels: tuple[Size, Size], tiles: int
    ) -> None:
        """The matrix products of one point for `tiles` tiles and a range of panels."""
        a_point, c_point = (
            f.at(source, f.mul(point, self.in_row * 4)),
            f.at(to, f.mul(point, self.out_row * 4)),
        )
        panel_bytes = self.g.channels * self.width * 4
        with f.loop(*panels) as panel:
            b = f.at(w, f.add(f.mul(point, self.panels * panel_bytes), f.mul(panel, panel_bytes)))
            done, register_tiles = 0, -(-tiles // self.rows)
            for size, number in spread(tiles, self.rows):
                with f.loop(done, done + size * number, size) as row:
                    ahead = self._ahead(f, f.udiv(f.sub(row, done), size), register_tiles)
                    sums = accumulate(
                        f,
                        self.isa,
                        replace(self._tile(size), ahead=ahead),
                        f.at(a_point, f.mul(row, self.in_bytes)),
                        b,
                    )
                    element = f.add(f.mul(row, self.out_bytes // 4), f.mul(panel, self.width))
                    offsets = tuple(r * self.out_bytes // 4 for r in range(size))
                    store_tile(f, self.isa, sums, Store(f.at(c_point, element, "float"), offsets))
                done += size * number

    def _tile(self, size: int) -> Tile:
        return plain_tile([r * self.in_bytes for r in range(size)], self.vectors, self.g.channels, self.isa)

    def _ahead(self, f: Function, tile: Size, tiles: int) -> tuple[Size, int] | None:
        """The tiles of a panel share the work of bringing in the next one, where filters come from far."""
        panel_bytes = self.g.channels * self.width * 4
        if self.points * self.panels * panel_bytes <= FAR_FILTER_BYTES or tiles > MAX_FETCHING_TILES:
            return None
        lines = -(-self._tile(1).unroll * self.width * 4 // (CACHE_LINE * tiles))
        return f.add(panel_bytes, f.mul(tile, lines * CACHE_LINE)), lines

    # -- outputs ----------------------------------------------------------------------------------------------
    def transform_output(
        self,
        f: Function,
        kind: Border,
        strides: Strides,
        source: str,
        y: str,
        operands: dict[int, str],
        element: Size,
        guard: Callable[[int, int], str] | None = None,
    ) -> None:
        """All channels of the tile whose first output is `element` of y, through the epilogue.

        Args:
            guard: an i1 that says whether output (row, column) of the tile exists; None: all do.
        """
        self._over_channels(
            f,
            self.g.outputs,
            lambda channel, count: self._output_registers(
                f,
                kind,
                strides,
                f.at(source, channel, "float"),
                y,
                operands,
                (f.add(element, channel), channel),
                count,
                guard,
            ),
        )

    def _output_registers(
        self,
        f: Function,
        kind: Border,
        strides: Strides,
        source: str,
        y: str,
        operands: dict[int, str],
        at: tuple[Size, Size],
        count: int | None,
        guard: Callable[[int, int], str] | None,
    ) -> None:
        size, arithmetic = self.m + 2, Arithmetic(f, self.isa)

        def product(i: int, j: int) -> str:
            return load_vector(f, self.isa.lanes, dtypes.f32, f.at(source, (i * size + j) * self.out_row * 4))

        columns = [output_line(arithmetic, [product(i, j) for i in range(size)], self.m) for j in range(size)]
        lines = [
            output_line(arithmetic, [columns[j][i] for j in range(size)], self.m) for i in range(kind.height)
        ]
        pixels = [(dy, dx) for dy in range(kind.height) for dx in range(kind.width)]
        offsets = [f.add(f.mul(dy, strides.y_row), f.mul(dx, strides.y_pixel)) for dy, dx in pixels]
        dtype = self.work.outputs[0].dtype
        given = tile_operands(f, operands, self.end, *at)
        pointer = f.at(y, f.mul(at[0], dtype.size_bytes))

        def store(chosen: Sequence[int]) -> None:
            sums = [[lines[pixels[k][0]][pixels[k][1]]] for k in chosen]
            rows = tuple(offsets[k] for k in chosen)
            store_tile(f, self.isa, sums, Store(pointer, rows, dtype, count, self.end.expression, given))

        if guard is None:
            store(range(len(pixels)))
            return
        for k, pixel in enumerate(pixels):
            with f.when(guard(*pixel)):
                store([k])
