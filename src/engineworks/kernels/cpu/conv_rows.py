"""Direct convolution with sizes known only at run time: one task is a row of output pixels.

The input holds its padding (conv_stage), so all tiles have one k loop; narrower tiles do what a row leaves over.
"""

from __future__ import annotations

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.tile import Segment, Tile, accumulate
from engineworks.core.dims import Dim, ceil_div
from engineworks.kernels.cpu.conv import known
from engineworks.kernels.cpu.conv_epilogue import OutputTile, outputs_of, store_sums
from engineworks.kernels.cpu.conv_problem import ConvProblem
from engineworks.kernels.cpu.conv_tiles import spread, tap_nest
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words

FLAT_ROW_PIXELS = 112
"""Pixels of one task of a pointwise convolution; a multiple of 14, 8 and 7."""
CACHED_FILTER_BYTES = 1 << 20
"""Filters up to this size stay in the second-level cache while rows pass over them."""


def row_tiles(isa: Isa) -> tuple[tuple[int, int], ...]:
    """(rows, vectors) of the tiles worth trying."""
    return ((8, 3), (14, 2), (6, 4), (12, 1)) if isa.registers >= 32 else ((4, 3), (6, 2), (12, 1))


def emit_rows(
    parts: ImageParts,
    problem: ConvProblem,
    rows: int,
    vectors: int,
    unroll: int,
    isa: Isa,
) -> None:
    """Append the step, with register tiles of rows x vectors. The geometry has no padding."""
    f = Function("conv_rows")
    arguments = Words(f)
    emitter = _Rows(f, isa, problem, rows, vectors, unroll, arguments)
    parts.step("conv_rows", f, arguments, emitter.emit())


class _Rows:
    """One kernel while it is emitted."""

    def __init__(
        self,
        f: Function,
        isa: Isa,
        problem: ConvProblem,
        rows: int,
        vectors: int,
        unroll: int,
        arguments: Words,
    ) -> None:
        self.f, self.isa, self.rows, self.vectors, self.unroll = f, isa, rows, vectors, unroll
        self.g = g = problem.g
        self.x, self.w = arguments.pointer(problem.source), arguments.pointer(problem.filters)
        self.outputs = outputs_of(arguments, problem.work, problem.end)
        self.x_strides, self.y_strides = arguments.sizes(g.x_strides), arguments.sizes(g.y_strides)
        self.out = arguments.sizes(g.out)
        self.first = arguments.sizes((g.x_first, g.y_first))
        self.pixels = arguments.size(g.batch * g.out[0] * g.out[1] * g.out[2]) if g.is_pointwise else 0
        self.segment = self._segment()

    def _segment(self) -> Segment:
        g, f = self.g, self.f
        nest: tuple[tuple[Size, Size, Size], ...] = tap_nest(g, g.kernel[2])
        if g.kernel[1] > 1:
            nest = (
                (g.kernel[1], f.mul(self.x_strides[2], 4 * g.dilations[1]), g.kernel[2] * g.group_channels),
                *nest,
            )
        if g.kernel[0] > 1:
            taps = g.kernel[1] * g.kernel[2] * g.group_channels
            nest = ((g.kernel[0], f.mul(self.x_strides[1], 4 * g.dilations[0]), taps), *nest)
        return Segment((), nest)

    def emit(self) -> Dim:
        """The loops; the number of tasks."""
        f, g = self.f, self.g
        width = self.vectors * self.isa.lanes
        panels = -(-g.group_outputs // width) * g.groups

        def all_panels(row: Size) -> None:
            with f.loop(0, panels) as panel:
                self._row(row, panel)

        if g.depth * g.outputs * 4 <= CACHED_FILTER_BYTES:
            with f.loop("%lo", "%hi") as row:
                all_panels(row)
        else:
            with f.loop(0, panels) as panel, f.loop("%lo", "%hi") as row:
                self._row(row, panel)
        if g.is_pointwise:
            return ceil_div(g.batch * g.out[0] * g.out[1] * g.out[2], FLAT_ROW_PIXELS)
        return g.batch * g.out[0] * g.out[1]

    def _row(self, row: Size, panel: Size) -> None:
        f = self.f
        x_pixel, y_pixel = self.x_strides[3], self.y_strides[3]
        if self.g.is_pointwise:
            start = f.mul(row, FLAT_ROW_PIXELS)
            count = f.smin(f.sub(self.pixels, start), FLAT_ROW_PIXELS)
            self._pieces(count, panel, f.mul(start, x_pixel), f.mul(start, y_pixel))
            return
        oy = f.urem(row, self.out[1])
        oz = f.urem(f.udiv(row, self.out[1]), self.out[0])
        image = f.udiv(row, f.mul(self.out[0], self.out[1]))
        steps = self.g.strides
        x = f.add(
            f.mul(image, self.x_strides[0]),
            f.add(
                f.mul(f.mul(oz, steps[0]), self.x_strides[1]), f.mul(f.mul(oy, steps[1]), self.x_strides[2])
            ),
        )
        y = f.add(
            f.mul(image, self.y_strides[0]), f.add(f.mul(oz, self.y_strides[1]), f.mul(oy, self.y_strides[2]))
        )
        self._pieces(self.out[2], panel, f.add(x, self.first[0]), f.add(y, self.first[1]))

    def _pieces(self, count: Size, panel: Size, x: Size, y: Size) -> None:
        """Tiles over `count` pixels whose first is at element x of the input and element y of the output."""
        f = self.f
        if isinstance(count, int):
            done = 0
            for size, number in spread(count, self.rows):
                with f.loop(done, done + size * number, size) as pixel:
                    self._tile(size, pixel, panel, x, y)
                done += size * number
            return
        whole = f.mul(f.udiv(count, self.rows), self.rows)
        with f.loop(0, whole, self.rows) as pixel:
            self._tile(self.rows, pixel, panel, x, y)
        rest = f.sub(count, whole)
        piece = 1 << ((self.rows - 1).bit_length() - 1)
        while piece:
            before = f.add(whole, f.value(f"and i64 {rest}, {-2 * piece}"))
            asked = f.compare("ne", f.value(f"and i64 {rest}, {piece}"), 0)
            with f.when(asked):
                self._tile(piece, before, panel, x, y)
            piece >>= 1

    def _tile(self, size: int, pixel: Size, panel: Size, x: Size, y: Size) -> None:
        f, g, width = self.f, self.g, self.vectors * self.isa.lanes
        panels = -(-g.group_outputs // width)
        group, within = (0, panel) if g.groups == 1 else (f.udiv(panel, panels), f.urem(panel, panels))
        x_step, y_step = g.strides[2] * known(self.x_strides[3]), known(self.y_strides[3])
        element = f.add(f.add(x, f.mul(pixel, x_step)), f.mul(group, g.group_channels))
        rows = tuple(r * x_step * 4 for r in range(size))
        segment = Segment(tuple(range(size)), self.segment.nest)
        code = Tile(rows, self.vectors, (segment,), width * 4, self.unroll, b_align=self.isa.lanes * 4)
        w = f.at(self.w, f.mul(panel, g.depth * width * 4))
        sums = accumulate(f, self.isa, code, f.at(self.x, element, "float"), w)
        column = f.mul(within, width)
        channel = f.add(f.mul(group, g.group_outputs), column)
        first = f.add(f.add(y, f.mul(pixel, y_step)), channel)
        out_rows = tuple(r * y_step for r in range(size))
        tile = OutputTile(out_rows, first, channel, f.sub(g.group_outputs, column), g.group_outputs)
        store_sums(f, self.isa, sums, self.outputs, tile)
