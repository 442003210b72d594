"""Intel's tile registers (AMX): blocks of 16x16 sums of bf16 or 8-bit products.

A block is a few accumulators over neighbouring rows and columns. One step multiplies 64 bytes of each row of A (32
bf16 or 64 bytes) with 16 k groups of B. A is read where it lies, row-major. B is packed: a k group holds, for each
column, the 4 bytes that belong to it (2 bf16 or 4 bytes of neighbouring k), so that a row of 16 columns is 64 bytes.

    configure(f, block)                       # once, and again for another shape; it clears all tiles
    clear(f, block)
    steps(f, block, count, Left(...), Right(...))
    save(f, block, scratch, row_bytes)        # then the vector epilogue of `tile.py`: store_saved
    release(f)                                # at the end of every kernel

Sizes are those of the Intel SDM, volume 1, chapter 18 (palette 1): eight tiles of 16 rows of 64 bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import load_vector
from engineworks.codegen.llvm.tile import Store, store_tile
from engineworks.core import dtypes
from engineworks.core.dtypes import DType

TILES = 8
TILE_ROWS = 16
TILE_BYTES = 64
"""Of one row of a tile."""
TILE_COLUMNS = 16
"""Of sums, which have 4 bytes."""
_CONFIG_BYTES = 64
_STORED_TOGETHER = 8
"""Vectors of sums in one turn of the loop that stores them."""


@dataclass(frozen=True, slots=True)
class TileProduct:
    """An instruction that multiplies two tiles.

    Attributes:
        instruction: LLVM's name of it.
        feature: the CPU feature it needs beside amx-tile.
        group: neighbouring k elements in 4 bytes.
        sums: dtype of the accumulators.
    """

    instruction: str
    feature: str
    group: int
    sums: DType

    @property
    def depth(self) -> int:
        """k elements of one step."""
        return self.group * TILE_ROWS


_BYTES = {"i8": "s", "u8": "u"}


def tile_product(left: DType, right: DType, isa: Isa) -> TileProduct | None:
    """The instruction for elements of `left` in A and `right` in B, or None where the target has none."""
    if not isa.has("amx-tile"):
        return None
    if left is right is dtypes.bf16 and isa.has("amx-bf16"):
        return TileProduct("tdpbf16ps", "amx-bf16", 2, dtypes.f32)
    if left.name in _BYTES and right.name in _BYTES and isa.has("amx-int8"):
        signs = _BYTES[left.name] + _BYTES[right.name]
        return TileProduct(f"tdpb{signs}d", "amx-int8", 4, dtypes.i32)
    return None


@dataclass(frozen=True, slots=True)
class TileBlock:
    """Sums that are accumulated together.

    Attributes:
        product: the instruction.
        rows: of each tile of A, 1 … 16 each; two tiles of A and two of B read each element twice as seldom. The last
            may be known only at run time.
        columns: tiles of B, 16 columns each. Accumulators, tiles of A and one of B are at most eight.
        step_bytes: of a row of A that one step reads, a multiple of 4 up to 64: as many k groups of B as it has words.
    """

    product: TileProduct
    rows: tuple[Size, ...]
    columns: int
    step_bytes: int = TILE_BYTES

    def __post_init__(self) -> None:
        assert all(0 < r <= TILE_ROWS for r in self.rows if isinstance(r, int)), f"tiles of {self.rows} rows"
        assert all(isinstance(r, int) for r in self.rows[:-1]), "only the last tile's rows may be unknown"
        assert self._first_right < TILES, (
            f"{len(self.rows)} x {self.columns} accumulators leave no tile for B"
        )

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first row of each tile."""
        known = [r for r in self.rows[:-1] if isinstance(r, int)]
        return tuple(itertools.accumulate(known, initial=0))

    def height(self, f: Function) -> Size:
        """Rows of all tiles."""
        return f.add(self.rows[-1], self.firsts[-1])

    @property
    def width(self) -> int:
        """Columns of all tiles."""
        return self.columns * TILE_COLUMNS

    @property
    def _first_left(self) -> int:
        return len(self.rows) * self.columns

    @property
    def _first_right(self) -> int:
        return self._first_left + len(self.rows)

    def sum(self, row: int, column: int) -> int:
        """Number of the accumulator of tile row `row`, tile column `column`."""
        return row * self.columns + column

    def left(self, row: int) -> int:
        """Number of the tile that holds A's tile row `row`."""
        return self._first_left + row

    def right(self, column: int) -> int:
        """Number of the tile that holds B's tile column `column` while it is used."""
        return self._first_right + column % (TILES - self._first_right)

    def shapes(self) -> list[tuple[Size, int]]:
        """(rows, bytes of a row) of each tile in use, by number."""
        sums = [(r, TILE_BYTES) for r in self.rows for _ in range(self.columns)]
        left = [(r, self.step_bytes) for r in self.rows]
        right = [(self.step_bytes // 4, TILE_BYTES)] * min(TILES - self._first_right, self.columns)
        return sums + left + right


@dataclass(frozen=True, slots=True)
class Left:
    """A: the address of each tile's first row, bytes from row to row, and bytes from one step to the next."""

    tiles: Sequence[str]
    row_bytes: Size
    step_bytes: Size = TILE_BYTES


@dataclass(frozen=True, slots=True)
class Right:
    """B: the address of its first tile, bytes from k group to k group, and bytes from one step to the next (None: the
    groups follow each other). Tile columns lie side by side in a k group.
    """

    pointer: str
    group_bytes: Size
    step_bytes: Size | None = None


# -- tiles ----------------------------------------------------------------------------------------------------
def configure(f: Function, block: TileBlock) -> None:
    """Set the shapes of the tiles, and clear them all."""
    f.require("amx-tile", block.product.feature)
    data = bytearray(_CONFIG_BYTES)
    data[0] = 1  # the palette
    late = {}
    for number, (rows, row_bytes) in enumerate(block.shapes()):
        data[16 + 2 * number : 18 + 2 * number] = row_bytes.to_bytes(2, "little")
        if isinstance(rows, int):
            data[48 + number] = rows
        else:
            late[number] = rows
    words = [int.from_bytes(data[k : k + 8], "little") for k in range(0, _CONFIG_BYTES, 8)]
    config = f.variable("[8 x i64]")
    for k, word in enumerate(words):
        f.line(f"store i64 {word}, ptr {f.at(config, 8 * k)}")
    for number, rows in late.items():
        byte = f.value(f"trunc i64 {rows} to i8")
        f.line(f"store i8 {byte}, ptr {f.at(config, 48 + number)}")
    f.call("void", "llvm.x86.ldtilecfg", f"ptr {config}")


def release(f: Function) -> None:
    """Give the tiles back; a thread that keeps them makes every switch between threads slower."""
    f.call("void", "llvm.x86.tilerelease")


def clear(f: Function, block: TileBlock) -> None:
    """All sums are zero."""
    for number in range(len(block.rows) * block.columns):
        f.call("void", "llvm.x86.tilezero", f"i8 {number}")


def resume(f: Function, block: TileBlock, source: str, row_bytes: Size) -> None:
    """Sums continue from what `save` wrote."""
    for number, pointer in _places(f, block, source, row_bytes):
        _load(f, number, pointer, row_bytes)


def save(f: Function, block: TileBlock, target: str, row_bytes: Size) -> None:
    """Write the sums as a row-major matrix [height][width] with `row_bytes` from row to row."""
    for number, pointer in _places(f, block, target, row_bytes):
        f.call("void", "llvm.x86.tilestored64", f"i8 {number}", f"ptr {pointer}", f"i64 {row_bytes}")


def steps(
    f: Function,
    block: TileBlock,
    count: Size,
    left: Left,
    right: Right,
    unroll: int = 2,
) -> None:
    """`count` steps of the k loop."""
    right_step = f.mul(right.group_bytes, TILE_ROWS) if right.step_bytes is None else right.step_bytes

    def some(start: Size, number: int) -> None:
        for u in range(number):
            k = f.add(start, u)
            tiles = [f.at(pointer, f.mul(k, left.step_bytes)) for pointer in left.tiles]
            _step(
                f, block, tiles, left.row_bytes, f.at(right.pointer, f.mul(k, right_step)), right.group_bytes
            )

    if isinstance(count, int) and count <= 2 * unroll:
        some(0, count)
        return
    whole = count // unroll * unroll if isinstance(count, int) else f.value(f"and i64 {count}, {-unroll}")
    with f.loop(0, whole, unroll) as k:
        some(k, unroll)
    if isinstance(count, int) and isinstance(whole, int):
        some(whole, count - whole)
    elif unroll > 1:
        with f.loop(whole, count) as k:
            some(k, 1)


def _step(
    f: Function, block: TileBlock, left: Sequence[str], left_bytes: Size, right: str, right_bytes: Size
) -> None:
    for row, pointer in enumerate(left):
        _load(f, block.left(row), pointer, left_bytes)
    for column in range(block.columns):
        _load(f, block.right(column), f.at(right, column * TILE_BYTES), right_bytes)
        for row in range(len(block.rows)):
            numbers = (block.sum(row, column), block.left(row), block.right(column))
            f.call("void", f"llvm.x86.{block.product.instruction}", *(f"i8 {n}" for n in numbers))


def _load(f: Function, number: int, pointer: str, row_bytes: Size) -> None:
    f.call("void", "llvm.x86.tileloadd64", f"i8 {number}", f"ptr {pointer}", f"i64 {row_bytes}")


def _places(f: Function, block: TileBlock, base: str, row_bytes: Size) -> list[tuple[int, str]]:
    """(accumulator, address of its first sum)."""
    found = []
    for row, first in enumerate(block.firsts):
        for column in range(block.columns):
            offset = f.add(f.mul(first, row_bytes), column * TILE_BYTES)
            found.append((block.sum(row, column), f.at(base, offset)))
    return found


def store_saved(
    f: Function, isa: Isa, block: TileBlock, source: str, row_bytes: Size, store: Store, row_step: Size
) -> None:
    """Apply the epilogue to the sums that `save` wrote to `source`, and store them.

    Args:
        store: of the block; its `rows` and `sums` are filled in here: `row_step` elements from row to row.
    """
    store = replace(store, sums=block.product.sums)

    def some(first: Size, count: int) -> None:
        rows = [f.add(first, r) for r in range(count)]
        sums = [
            [
                load_vector(
                    f, isa.lanes, store.sums, f.at(source, f.add(f.mul(row, row_bytes), j * isa.lanes * 4))
                )
                for j in range(block.width // isa.lanes)
            ]
            for row in rows
        ]
        store_tile(f, isa, sums, replace(store, rows=tuple(f.mul(row, row_step) for row in rows)))

    height = block.height(f)
    together = max(1, _STORED_TOGETHER // block.columns)
    whole = f.mul(f.udiv(height, together), together)
    with f.loop(0, whole, together) as row:
        some(row, together)
    if isinstance(height, int) and isinstance(whole, int):
        if whole < height:
            some(whole, height - whole)
    elif together > 1:
        with f.loop(whole, height) as row:
            some(row, 1)


# -- what tiles cannot read -----------------------------------------------------------------------------------
def copy_tail(f: Function, rows: Size, source: str, row_bytes: Size, count_bytes: Size, target: str) -> None:
    """Rows of fewer than 64 bytes, `row_bytes` apart, to rows of 64 bytes filled with zeros: the end of A's depth.

    What lies behind a row is not read. Zeros, because B's zeros there times a NaN of A would be a NaN.
    """
    vector = "<64 x i8>"
    if isinstance(count_bytes, int):
        mask = "<" + ", ".join(f"i1 {int(k < count_bytes)}" for k in range(TILE_BYTES)) + ">"
    else:
        bits = f.value(f"add i64 {f.value(f'shl i64 1, {count_bytes}')}, -1")
        mask = f.value(f"bitcast i64 {bits} to <64 x i1>")
    with f.loop(0, rows) as row:
        at = f.at(source, f.mul(row, row_bytes))
        value = f.call(
            vector, "llvm.masked.load.v64i8.p0", f"ptr {at}", f"<64 x i1> {mask}", f"{vector} zeroinitializer"
        )
        f.line(f"store {vector} {value}, ptr {f.at(target, f.mul(row, TILE_BYTES))}, align 1")
