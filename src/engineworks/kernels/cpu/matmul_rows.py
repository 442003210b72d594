"""How rows are split into register tiles, and the code that picks the variant for a tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Size
from engineworks.core.dims import Dim, ceil_div


@dataclass(frozen=True, slots=True)
class RowTiles:
    """Rows in tiles of at most `most` rows.

    Attributes:
        count: tiles.
        split: of a static number of rows, balanced: (rows of a tile, how many), the larger ones first. (): symbolic
            rows; every tile has `most` rows and the last one may have fewer.
    """

    most: int
    count: Dim
    split: tuple[tuple[int, int], ...]

    def emit(self, f: Function, tile: Size, rows: Size, variant: Callable[[int, Size], None]) -> None:
        """Emit `variant(size, first row)` for the rows of tile number `tile`, of `rows` in all.

        The last tile of symbolic rows becomes tiles of 8, 4, 2, 1 rows by the bits of what is left.
        """
        if not self.split:
            first = f.mul(tile, self.most)
            left = f.sub(rows, first)
            f.branch(
                f.compare("sge", left, self.most),
                lambda: variant(self.most, first),
                lambda: self._edge(f, first, left, variant),
            )
            return
        (size, count), *smaller = self.split
        if not smaller:
            variant(size, f.mul(tile, size))
            return
        other = smaller[0][0]
        f.branch(
            f.compare("slt", tile, count),
            lambda: variant(size, f.mul(tile, size)),
            lambda: variant(other, f.add(f.mul(tile, other), count * (size - other))),
        )

    def _edge(self, f: Function, first: Size, left: Size, variant: Callable[[int, Size], None]) -> None:
        size = 1 << (self.most - 1).bit_length() >> 1
        row = first
        while size:
            bit = f.value(f"and i64 {left}, {size}")
            with f.when(f.compare("ne", bit, 0)):
                variant(size, row)
            row = f.add(row, bit)
            size >>= 1


def row_tiles(rows: Dim, most: int) -> RowTiles:
    """`rows` in tiles of at most `most`."""
    if not isinstance(rows, int) or rows == 0:
        return RowTiles(most, ceil_div(rows, most), ())
    tiles = -(-rows // most)
    small, more = divmod(rows, tiles)
    split = tuple((size, count) for size, count in ((small + 1, more), (small, tiles - more)) if count)
    return RowTiles(most, tiles, split)
