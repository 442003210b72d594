"""How a static convolution is cut into register tiles, and which taps each tile needs.

Tiles at the border are variants of their own whose k loop holds only the taps that lie inside the input, row by row:
padding is neither stored nor multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engineworks.codegen.llvm.tile import Segment
from engineworks.kernels.cpu.conv import Geometry, known

RowSets = tuple[tuple[tuple[int, ...], ...], ...]
"""For each tap (kernel row, kernel column): the rows of the tile for which it lies inside the input."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Tiles of one code.

    Attributes:
        rows: bytes from the tile's base in x to each output pixel's first tap.
        out_rows: elements from the tile's first output to each row's.
        segments: the k loop.
        first, count: the tiles in the table.
    """

    rows: tuple[int, ...]
    out_rows: tuple[int, ...]
    segments: tuple[Segment, ...]
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """All tiles of one image, grouped by variant.

    `table`: [tiles, 2] i64: the byte offset of x and the element offset of y, within an image.
    """

    variants: tuple[Variant, ...]
    table: np.ndarray

    @property
    def count(self) -> int:
        return len(self.table)


def spread(total: int, most: int) -> list[tuple[int, int]]:
    """[(size, how many)]: `total` cut into as few parts of at most `most` as possible, evenly."""
    parts = -(-total // most)
    small = total // parts
    larger = total - small * parts
    return [(size, number) for size, number in ((small + 1, larger), (small, parts - larger)) if number]


def flat_tiling(g: Geometry, pixels: int, rows: int) -> Tiling:
    """Tiles of a pointwise convolution: `rows` pixels each, over all `pixels` of the (flattened) image."""
    x_step, y_step = known(g.x_strides[3]) * 4, known(g.y_strides[3])
    variants: list[Variant] = []
    table: list[tuple[int, int]] = []
    done = 0
    for size, number in spread(pixels, rows):
        nest = ((g.depth, 4, 1),)
        segment = Segment(tuple(range(size)), nest)
        offsets = tuple(r * x_step for r in range(size)), tuple(r * y_step for r in range(size))
        variants.append(Variant(*offsets, (segment,), len(table), number))
        table += [((done + t * size) * x_step, (done + t * size) * y_step) for t in range(number)]
        done += size * number
    return Tiling(tuple(variants), np.array(table, np.int64))


def window_tiling(g: Geometry, height: int, width: int) -> Tiling:
    """Tiles of height x width output pixels of one depth."""
    groups: dict[tuple[int, int, tuple[int, int], RowSets], list[tuple[int, int]]] = {}
    (_, out_h, out_w), (_, stride_h, stride_w) = g.out, g.strides
    x_depth, x_row, x_pixel = (known(s) for s in g.x_strides[1:])
    y_depth, y_row, y_pixel = (known(s) for s in g.y_strides[1:])
    for z in range(known(g.out[0])):
        depth_taps = _valid_depths(g, z)
        first_depth = z * g.strides[0] - known(g.before[0])
        for oy in range(0, known(out_h), height):
            for ox in range(0, known(out_w), width):
                h, w = min(height, known(out_h) - oy), min(width, known(out_w) - ox)
                key = (h, w, depth_taps, _row_sets(g, oy, ox, h, w))
                y0, x0 = oy * stride_h - known(g.before[1]), ox * stride_w - known(g.before[2])
                groups.setdefault(key, []).append(
                    (
                        (known(g.x_first) + first_depth * x_depth + y0 * x_row + x0 * x_pixel) * 4,
                        known(g.y_first) + z * y_depth + oy * y_row + ox * y_pixel,
                    )
                )
    variants: list[Variant] = []
    table: list[tuple[int, int]] = []
    for (h, w, depth_taps, sets), tiles in groups.items():
        pixels = [(dy, dx) for dy in range(h) for dx in range(w)]
        rows = tuple((dy * stride_h * x_row + dx * stride_w * x_pixel) * 4 for dy, dx in pixels)
        out_rows = tuple(dy * y_row + dx * y_pixel for dy, dx in pixels)
        variants.append(Variant(rows, out_rows, _segments(g, depth_taps, sets), len(table), len(tiles)))
        table += tiles
    return Tiling(tuple(variants), np.array(table, np.int64))


def _valid_depths(g: Geometry, z: int) -> tuple[int, int]:
    """First and end of the kernel's depth taps that lie inside the input for output depth z."""
    at = [z * g.strides[0] - known(g.before[0]) + k * g.dilations[0] for k in range(g.kernel[0])]
    inside = [k for k, position in enumerate(at) if 0 <= position < known(g.size[0])]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _row_sets(g: Geometry, oy: int, ox: int, h: int, w: int) -> RowSets:
    def inside(axis: int, output: int, tap: int) -> bool:
        position = output * g.strides[axis] + tap * g.dilations[axis] - known(g.before[axis])
        return 0 <= position < known(g.size[axis])

    down = [[inside(1, oy + dy, i) for i in range(g.kernel[1])] for dy in range(h)]
    across = [[inside(2, ox + dx, j) for j in range(g.kernel[2])] for dx in range(w)]
    return tuple(
        tuple(
            tuple(dy * w + dx for dy in range(h) for dx in range(w) if down[dy][i] and across[dx][j])
            for j in range(g.kernel[2])
        )
        for i in range(g.kernel[1])
    )


def _segments(g: Geometry, depth_taps: tuple[int, int], sets: RowSets) -> tuple[Segment, ...]:
    """The k loop of a variant: taps with the same rows become one nest of loops."""
    first, end = depth_taps
    if end == first:
        return ()
    x_depth, x_row = known(g.x_strides[1]) * 4, known(g.x_strides[2]) * 4
    taps_of_depth = g.kernel[1] * g.kernel[2] * g.group_channels
    out = []
    for i, rows_of_taps, number in _equal_rows(sets):
        for rows, j, length in rows_of_taps:
            nest: tuple[tuple[int, int, int], ...] = tap_nest(g, length)
            if number > 1:
                nest = ((number, x_row * g.dilations[1], g.kernel[2] * g.group_channels), *nest)
            if end - first > 1:
                nest = ((end - first, x_depth * g.dilations[0], taps_of_depth), *nest)
            a = (
                first * g.dilations[0] * x_depth
                + i * g.dilations[1] * x_row
                + j * g.dilations[2] * known(g.x_strides[3]) * 4
            )
            b = first * taps_of_depth + (i * g.kernel[2] + j) * g.group_channels
            out.append(Segment(rows, nest, a, b))
    return tuple(out)


def tap_nest(g: Geometry, length: int) -> tuple[tuple[int, int, int], ...]:
    """The loops over `length` taps of a kernel row and their channels; one loop where they lie one after another."""
    pixel = known(g.x_strides[3])
    if length == 1 or (pixel == g.group_channels and g.dilations[2] == 1):
        return ((length * g.group_channels, 4, 1),)
    return ((length, pixel * g.dilations[2] * 4, g.group_channels), (g.group_channels, 4, 1))


def _equal_rows(sets: RowSets) -> list[tuple[int, list[tuple[tuple[int, ...], int, int]], int]]:
    """[(first kernel row, [(rows, first kernel column, columns)], kernel rows)]: equal neighbours are merged."""
    out: list[tuple[int, list[tuple[tuple[int, ...], int, int]], int]] = []
    for i, row in enumerate(sets):
        runs: list[tuple[tuple[int, ...], int, int]] = []
        for j, rows in enumerate(row):
            if runs and runs[-1][0] == rows and runs[-1][1] + runs[-1][2] == j:
                runs[-1] = (rows, runs[-1][1], runs[-1][2] + 1)
            elif rows:
                runs.append((rows, j, 1))
        if out and out[-1][1] == runs and out[-1][0] + out[-1][2] == i:
            out[-1] = (out[-1][0], runs, out[-1][2] + 1)
        elif runs:
            out.append((i, runs, 1))
    return out
