"""Winograd over images of known size: border tiles are kinds of their own, which read no padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engineworks.codegen.llvm.function import Function, Size
from engineworks.kernels.cpu.conv import Geometry, known, ranges
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.winograd_stages import Border, Stages, Strides
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Output


def border_tiles(g: Geometry, m: int) -> dict[Border, list[tuple[int, int]]]:
    """First output (y, x) of every tile, by kind."""
    found: dict[Border, list[tuple[int, int]]] = {}
    top, left = known(g.before[1]), known(g.before[2])
    for oy in range(0, known(g.out[1]), m):
        for ox in range(0, known(g.out[2]), m):
            kind = Border(
                max(0, top - oy),
                min(m + 2, known(g.size[1]) + top - oy),
                max(0, left - ox),
                min(m + 2, known(g.size[2]) + left - ox),
                min(m, known(g.out[1]) - oy),
                min(m, known(g.out[2]) - ox),
            )
            found.setdefault(kind, []).append((oy, ox))
    return found


class StaticWinograd:
    """One image while it is built."""

    def __init__(self, parts: ImageParts, g: Geometry, stages: Stages) -> None:
        self.parts, self.g, self.stages = parts, g, stages
        self.kinds = border_tiles(g, stages.m)
        self.strides = Strides(
            known(g.x_strides[2]), known(g.x_strides[3]), known(g.y_strides[2]), known(g.y_strides[3])
        )
        table = np.array(
            [self._offsets(oy, ox) for tiles in self.kinds.values() for oy, ox in tiles], np.int64
        )
        self.tiles = len(table)
        self.table = parts.pack(lambda _: table)
        self.filters = stages.filters(parts)

    def _offsets(self, oy: int, ox: int) -> tuple[int, int]:
        """Elements from the image's start to the tile's first input and output."""
        g = self.g
        x = (oy - known(g.before[1])) * known(g.x_strides[2]) + (ox - known(g.before[2])) * known(
            g.x_strides[3]
        )
        return x, oy * known(g.y_strides[2]) + ox * known(g.y_strides[3])

    # -- the two organisations --------------------------------------------------------------------------------
    def fused(self, block: int) -> None:
        """One step: a task takes a block of tiles through all stages in thread-private memory."""
        g, stages = self.g, self.stages
        blocks = -(-self.tiles // block)
        f = Function("winograd")
        arguments = Words(f)
        x, w, y = arguments.pointer(Input(0)), arguments.pointer(self.filters), arguments.pointer(Output(0))
        table = arguments.pointer(self.table)
        operands = {index: arguments.pointer(Input(index)) for index, _, _ in stages.end.operands}
        products = f.at("%scratch", block * stages.in_bytes)
        with ranges(f, "%lo", "%hi", g.batch, blocks) as (image, low, high), f.loop(low, high) as number:
            first = f.mul(number, block)
            end = f.smin(f.add(first, block), self.tiles)
            self._inputs(
                f,
                f.at(x, f.mul(image, known(g.x_strides[0])), "float"),
                table,
                "%scratch",
                (first, end),
                first,
            )
            with f.loop(0, stages.points) as point:
                stages.multiply(f, "%scratch", w, products, point, (0, stages.panels), block)
            self._outputs(
                f, products, y, f.mul(image, known(g.y_strides[0])), table, operands, (first, end), first
            )
        self.parts.scratch_bytes = block * (stages.in_bytes + stages.out_bytes)
        self.parts.step("winograd", f, arguments, g.batch * blocks)

    def staged(self) -> None:
        """Three steps over all tiles of all images; the products are shared out by (point, panel)."""
        g, stages, tiles = self.g, self.stages, self.tiles * known(self.g.batch)  # type: ignore[call-overload]
        inputs = self.parts.buffer(tiles * stages.in_bytes)
        products = self.parts.buffer(tiles * stages.out_bytes)
        f = Function("winograd_input")
        arguments = Words(f)
        x, table, to = arguments.pointer(Input(0)), arguments.pointer(self.table), arguments.pointer(inputs)
        with ranges(f, "%lo", "%hi", g.batch, self.tiles) as (image, low, high):
            here = f.at(to, f.mul(image, self.tiles * stages.in_bytes))
            self._inputs(
                f, f.at(x, f.mul(image, known(g.x_strides[0])), "float"), table, here, (low, high), 0
            )
        self.parts.step("winograd_input", f, arguments, tiles)
        f = Function("winograd_products")
        arguments = Words(f)
        source, w, to = (
            arguments.pointer(inputs),
            arguments.pointer(self.filters),
            arguments.pointer(products),
        )
        with ranges(f, "%lo", "%hi", stages.points, stages.panels) as (point, low, high):
            stages.multiply(f, source, w, to, point, (low, high), tiles)
        self.parts.step("winograd_products", f, arguments, stages.points * stages.panels)
        f = Function("winograd_output")
        arguments = Words(f)
        source, y, table = (
            arguments.pointer(products),
            arguments.pointer(Output(0)),
            arguments.pointer(self.table),
        )
        operands = {index: arguments.pointer(Input(index)) for index, _, _ in stages.end.operands}
        with ranges(f, "%lo", "%hi", g.batch, self.tiles) as (image, low, high):
            here = f.at(source, f.mul(image, self.tiles * stages.out_bytes))
            self._outputs(f, here, y, f.mul(image, known(g.y_strides[0])), table, operands, (low, high), 0)
        self.parts.step("winograd_output", f, arguments, tiles)

    # -- tiles ------------------------------------------------------------------------------------------------
    def _by_kind(self, f: Function, span: tuple[Size, Size]) -> Iterator[tuple[Border, Size]]:
        """Loops over the tiles of `span`, kind by kind; yields the kind and the tile inside of its loop."""
        done = 0
        for kind, tiles in self.kinds.items():
            low, high = f.smax(span[0], done), f.smin(span[1], done + len(tiles))
            done += len(tiles)
            with f.loop(low, high) as tile:
                yield kind, tile

    def _inputs(self, f: Function, x: str, table: str, to: str, span: tuple[Size, Size], first: Size) -> None:
        """Transform the tiles of `span`; `first` lies at `to`."""
        for kind, tile in self._by_kind(f, span):
            offset = f.value(f"load i64, ptr {f.at(table, f.mul(tile, 16))}")
            source = f.value(f"getelementptr float, ptr {x}, i64 {offset}")
            target = f.at(to, f.mul(f.sub(tile, first), self.stages.in_bytes))
            self.stages.transform_input(f, kind, self.strides, source, target)

    def _outputs(
        self,
        f: Function,
        source: str,
        y: str,
        image: Size,
        table: str,
        operands: dict[int, str],
        span: tuple[Size, Size],
        first: Size,
    ) -> None:
        """Transform the products of the tiles of `span` back; those of `first` lie at `source`."""
        for kind, tile in self._by_kind(f, span):
            element = f.add(image, f.value(f"load i64, ptr {f.at(table, f.add(f.mul(tile, 16), 8))}"))
            here = f.at(source, f.mul(f.sub(tile, first), self.stages.out_bytes))
            self.stages.transform_output(f, kind, self.strides, here, y, operands, element)
