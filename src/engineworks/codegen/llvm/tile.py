"""The micro-kernel that matmul, convolution, attention and recurrent layers share.

A tile is `rows` x `vectors` accumulator registers. Each k step loads `vectors` registers of B once and multiplies them
with one broadcast k group of A (`multiply.py`; in f32 one element) for each row. Where the rows of A lie is a list of
byte offsets; the k loop is a list of segments, each a nest of counted loops, so that a convolution's border tiles can
leave out their padding. Everything that is a `Size` may be a constant or an SSA value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.codegen.llvm.multiply import F32, Multiply
from engineworks.codegen.llvm.vector import compute_kind
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.scalar import Scalar, count_nodes

CACHE_LINE = 64
LIGHT_EPILOGUE = 4
"""Primitives of an epilogue that fits into the registers beside the sums."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the k loop.

    Attributes:
        rows: which rows of the tile take part (indices into `Tile.rows`).
        nest: loops from the outermost: (count, bytes to step in A, rows of B to step). The innermost loop is unrolled.
        a_offset: bytes added to the base of A.
        b_offset: rows of B added to its base.
        tail: elements of one more k group, fewer than it holds, after a nest of a single loop.
    """

    rows: tuple[int, ...]
    nest: tuple[tuple[Size, Size, Size], ...]
    a_offset: Size = 0
    b_offset: Size = 0
    tail: Size = 0


@dataclass(frozen=True, slots=True)
class Tile:
    """One register tile.

    Attributes:
        rows: byte offset in A of each row, from the tile's base.
        vectors: registers across the columns; the tile is `vectors * isa.lanes` columns wide.
        segments: the k loop.
        b_row_bytes: bytes between neighbouring k rows of B; of packed panels `vectors * isa.lanes * 4`.
        unroll: k steps in one turn of the innermost loop.
        chains: independent sums that the unrolled steps go to in turn: with few rows one chain waits for the
            multiplier's latency. Must divide `unroll`.
        b_masks: for each vector an SSA mask of the columns that may be read, or None; () when all of B may be read.
        b_align: bytes B's vectors are aligned to.
        prefetch: (pointer, lines): memory that is needed soon, of which each turn of an innermost loop fetches the
            next so many cache lines.
        ahead: (bytes, lines): each turn of an innermost loop fetches so many cache lines that lie this far from the
            rows of B it reads.
        multiply: what a k step does; the rows of B are its groups.
    """

    rows: tuple[Size, ...]
    vectors: int
    segments: tuple[Segment, ...]
    b_row_bytes: Size
    unroll: int = 4
    chains: int = 1
    b_masks: tuple[str | None, ...] = ()
    b_align: int = 4
    prefetch: tuple[str, int] | None = None
    ahead: tuple[Size, int] | None = None
    multiply: Multiply = F32


def plain_tile(
    rows: Sequence[Size],
    vectors: int,
    k: Size,
    isa: Isa,
    *,
    a_step: Size = 4,
    unroll: int = 4,
    chains: int = 1,
) -> Tile:
    """The tile of a matrix product with packed B: one segment, `k` steps, `a_step` bytes between A's k neighbours."""
    segment = Segment(tuple(range(len(rows))), ((k, a_step, 1),))
    width = vectors * isa.lanes * 4
    return Tile(tuple(rows), vectors, (segment,), width, unroll, chains, b_align=isa.lanes * 4)


def accumulate(
    f: Function, isa: Isa, tile: Tile, a: str, b: str, initial: Sequence[Sequence[str]] | None = None
) -> list[list[str]]:
    """Emit the k loop; the sums as SSA vectors, [row][vector].

    Args:
        a, b: pointers to the tile's base in A, and to row 0, column 0 of its panel of B.
        initial: [row][vector] SSA values to start from; zeros unless given.
    """
    return _Accumulation(f, isa, tile, initial).emit(a, b)


class _Accumulation:
    """The accumulators of one tile while its loops are being emitted."""

    def __init__(self, f: Function, isa: Isa, tile: Tile, initial: Sequence[Sequence[str]] | None) -> None:
        assert tile.unroll % tile.chains == 0, (
            f"{tile.chains} chains do not divide an unrolling of {tile.unroll}"
        )
        self.f, self.isa, self.tile, self.multiply = f, isa, tile, tile.multiply
        self.vector = tile.multiply.sum_type(isa)
        self.sums = [
            [[self._start(initial, chain, r, j) for j in range(tile.vectors)] for r in range(len(tile.rows))]
            for chain in range(tile.chains)
        ]

    def _start(self, initial: Sequence[Sequence[str]] | None, chain: int, row: int, j: int) -> str:
        value = initial[row][j] if initial is not None and chain == 0 else "zeroinitializer"
        return self.f.variable(self.vector, value)

    def emit(self, a: str, b: str) -> list[list[str]]:
        f, tile = self.f, self.tile
        for segment in tile.segments:
            base_b = f.at(b, f.mul(segment.b_offset, tile.b_row_bytes))
            base_a = f.at(a, segment.a_offset)
            self._nest(segment.nest, base_a, base_b, segment.rows)
            self._tail(segment, base_a, base_b)
        return [[self._total(r, j) for j in range(tile.vectors)] for r in range(len(tile.rows))]

    def _total(self, row: int, j: int) -> str:
        values = [self.f.get(self.vector, chain[row][j]) for chain in self.sums]
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2], strict=False)
            odd = values[len(values) & ~1 :]
            values = [self.multiply.add(self.f, self.isa, x, y) for x, y in pairs] + odd
        return values[0]

    def _nest(self, nest: Sequence[tuple[Size, Size, Size]], a: str, b: str, rows: Sequence[int]) -> None:
        count, a_step, b_step = nest[0]
        if len(nest) == 1:
            self._innermost(count, a_step, b_step, a, b, rows)
            return
        f = self.f
        b_bytes = f.mul(b_step, self.tile.b_row_bytes)
        with f.loop(0, count) as k:
            self._nest(nest[1:], f.at(a, f.mul(k, a_step)), f.at(b, f.mul(k, b_bytes)), rows)

    def _innermost(
        self, count: Size, a_step: Size, b_step: Size, a: str, b: str, rows: Sequence[int]
    ) -> None:
        """The unrolled loop, then what is left of it."""
        f, unroll = self.f, self.tile.unroll
        b_bytes = f.mul(b_step, self.tile.b_row_bytes)
        whole = count // unroll * unroll if isinstance(count, int) else f.value(f"and i64 {count}, {-unroll}")

        def steps(start: Size, number: int) -> None:
            here_a, here_b = f.at(a, f.mul(start, a_step)), f.at(b, f.mul(start, b_bytes))
            for u in range(number):
                self._step(here_a, here_b, f.mul(u, a_step), f.mul(u, b_bytes), u % self.tile.chains, rows)

        if isinstance(count, int) and count <= 2 * unroll:
            steps(0, count)
            return
        with f.loop(0, whole, unroll) as k:
            self._prefetch(k)
            self._fetch_ahead(f.at(b, f.mul(k, b_bytes)))
            steps(k, unroll)
        if isinstance(count, int) and isinstance(whole, int):
            steps(whole, count - whole)
        elif unroll > 1:
            with f.loop(whole, count) as k:
                steps(k, 1)

    def _prefetch(self, k: str) -> None:
        if self.tile.prefetch is None:
            return
        f, (pointer, lines) = self.f, self.tile.prefetch
        self._fetch(f.at(pointer, f.mul(k, lines * CACHE_LINE // self.tile.unroll)), lines)

    def _fetch_ahead(self, b: str) -> None:
        if self.tile.ahead is not None:
            distance, lines = self.tile.ahead
            self._fetch(self.f.value(f"getelementptr i8, ptr {b}, i64 {distance}"), lines)

    def _fetch(self, pointer: str, lines: int) -> None:
        for line in range(lines):
            at = self.f.at(pointer, line * CACHE_LINE)
            self.f.call("void", "llvm.prefetch.p0", f"ptr {at}", "i32 0", "i32 2", "i32 1")

    def _tail(self, segment: Segment, a: str, b: str) -> None:
        """The last k group, where the depth ends in it."""
        f, tail = self.f, segment.tail
        if tail == 0:
            return
        assert len(segment.nest) == 1, "only a single loop has an unfinished k group"
        count, a_step, b_step = segment.nest[0]
        a = f.at(a, f.mul(count, a_step))
        b = f.at(b, f.mul(count, f.mul(b_step, self.tile.b_row_bytes)))
        for valid in range(1, self.multiply.group):
            if isinstance(tail, str):
                with f.when(f.compare("eq", tail, valid)):
                    self._step(a, b, 0, 0, 0, segment.rows, valid)
            elif tail == valid:
                self._step(a, b, 0, 0, 0, segment.rows, valid)

    def _step(
        self,
        a: str,
        b: str,
        a_shift: Size,
        b_shift: Size,
        chain: int,
        rows: Sequence[int],
        valid: int | None = None,
    ) -> None:
        """One k group: the vectors of B once, then a broadcast (folded into the multiply) and the multiplies of each
        row.
        """
        f, tile, isa, multiply = self.f, self.tile, self.isa, self.multiply
        step = isa.lanes * multiply.column_bytes
        columns = [self._columns(f.at(b, f.add(b_shift, j * step)), j) for j in range(tile.vectors)]
        for r in rows:
            element = multiply.element(f, isa, f.at(a, f.add(tile.rows[r], a_shift)), valid)
            for j, column in enumerate(columns):
                total = self.sums[chain][r][j]
                value = f.get(self.vector, total)
                for x, y in zip(element, column, strict=False):
                    value = multiply.multiply_add(f, isa, value, x, y)
                f.set(self.vector, total, value)

    def _columns(self, pointer: str, j: int) -> tuple[str, ...]:
        mask = self.tile.b_masks[j] if self.tile.b_masks else None
        return self.multiply.columns(self.f, self.isa, pointer, mask, self.tile.b_align)


# -- what happens to the accumulators -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TileOperand:
    """An epilogue operand at this tile.

    Attributes:
        kind: see `kernels.workload.Epilogue`.
        dtype: of its elements.
        pointer: 'full': the element under the tile's first output; 'channel': the element of the tile's first column;
            'scalar': the element.
    """

    kind: Literal["full", "channel", "scalar"]
    dtype: DType
    pointer: str


@dataclass(frozen=True, slots=True)
class Store:
    """Where a tile goes.

    Attributes:
        pointer: of the tile's first output element.
        rows: elements from there to the first column of each row; also used for 'full' operands.
        dtype: of the stored elements.
        columns: how many columns are written (the others are masked); None: all.
        expression: over argument(0), the sum, and argument(1 + k), operand k; None stores the sum.
        operands: in the order of the expression's arguments.
        sums: dtype of the sums, f32 or i32.
    """

    pointer: str
    rows: tuple[Size, ...]
    dtype: DType = dtypes.f32
    columns: Size | None = None
    expression: Scalar | None = None
    operands: tuple[TileOperand, ...] = ()
    sums: DType = dtypes.f32


def store_tile(f: Function, isa: Isa, sums: Sequence[Sequence[str]], store: Store) -> None:
    """Apply the epilogue to the sums, [row][vector] of vectors of `store.sums`, and store them.

    Bias vectors and scalars are read once for the tile. A static `columns` leaves out vectors beyond it.
    """
    lanes = isa.lanes
    vectors = len(sums[0])
    if isinstance(store.columns, int):
        vectors = min(vectors, -(-store.columns // lanes))
    masks = [column_mask(f, lanes, store.columns, j) for j in range(vectors)]
    fixed = [[_fixed_operand(f, lanes, o, j, masks[j]) for o in store.operands] for j in range(vectors)]
    long = store.expression is not None and count_nodes(store.expression) > LIGHT_EPILOGUE
    reads = (
        _parked(f, f"<{lanes} x {compute_kind(store.sums)}>", sums)
        if long
        else [[lambda value=value: value for value in row] for row in sums]
    )
    for row, offset in zip(reads, store.rows, strict=True):
        for j in range(vectors):
            element = f.add(offset, j * lanes)
            value = row[j]()
            if store.expression is not None:
                arguments = [value]
                for operand, known in zip(store.operands, fixed[j], strict=True):
                    arguments.append(known or _full_operand(f, lanes, operand, element, masks[j]))
                value = _apply_epilogue(f, isa, store.expression, arguments)
            at = f.at(store.pointer, f.mul(element, store.dtype.size_bytes))
            store_vector(f, lanes, store.dtype, at, value, masks[j])


def _parked(f: Function, vector: str, sums: Sequence[Sequence[str]]) -> list[list[Callable[[], str]]]:
    """The sums moved to the stack, each read back when its turn comes.

    A long epilogue wants registers of its own. With the sums still in theirs, LLVM spills some of them for their whole
    life, the k loop included, which halves its speed; volatile accesses end that life at the loop.
    """
    slots = [[f.variable(vector) for _ in row] for row in sums]
    for row, places in zip(sums, slots, strict=True):
        for value, place in zip(row, places, strict=True):
            f.line(f"store volatile {vector} {value}, ptr {place}")
    return [[lambda at=at: f.value(f"load volatile {vector}, ptr {at}") for at in places] for places in slots]


def column_mask(f: Function, lanes: int, columns: Size | None, j: int) -> str | None:
    """Mask of vector j of a tile of which `columns` columns exist; None where all of it does."""
    if columns is None or (isinstance(columns, int) and columns >= (j + 1) * lanes):
        return None
    return iota_below(f, lanes, f.sub(columns, j * lanes))


def _fixed_operand(f: Function, lanes: int, operand: TileOperand, j: int, mask: str | None) -> str | None:
    """The operand's vector where it is the same for all rows."""
    if operand.kind == "channel":
        at = f.at(operand.pointer, j * lanes * operand.dtype.size_bytes)
        return load_vector(f, lanes, operand.dtype, at, mask)
    if operand.kind == "scalar":
        return load_vector(f, lanes, operand.dtype, operand.pointer, None, broadcast=True)
    return None


def _full_operand(f: Function, lanes: int, operand: TileOperand, element: Size, mask: str | None) -> str:
    at = f.at(operand.pointer, f.mul(element, operand.dtype.size_bytes))
    return load_vector(f, lanes, operand.dtype, at, mask)


def _apply_epilogue(f: Function, isa: Isa, expression: Scalar, arguments: Sequence[str]) -> str:
    from engineworks.codegen.llvm.stored import emit_stored

    return emit_stored(f, isa, expression, list(arguments))


def by_columns(
    f: Function, width: int, columns: Size, total: Size, emit: Callable[[Size | None], None]
) -> None:
    """Call `emit(None)` where a whole tile of `width` columns is left and `emit(columns left)` at the edge.

    Args:
        columns: how many columns are left from this tile on, at least one.
        total: columns of the whole matrix; static where `columns` may be dynamic: the edge then has a static width.
    """
    if isinstance(total, int):
        tail = total % width
        if not tail:
            emit(None)
        elif total < width:
            emit(tail)
        else:
            f.branch(f.compare("sge", columns, width), lambda: emit(None), lambda: emit(tail))
        return
    f.branch(f.compare("sge", columns, width), lambda: emit(None), lambda: emit(columns))
