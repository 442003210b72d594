"""Sorting in Triton: elements as integers that order as they do, networks inside a block, and merges of sorted runs.

An item stands for an element of a line. Of elements up to 4 bytes it is a u64, the key above the index, so that items
order as elements do and ties go to the lower index. Of wider elements it is the i32 index alone, and comparing two
loads their elements. Lines have less than 2^30 elements.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.native import power_of_two
from engineworks.kernels.cuda.words import Launch, Part, index_cast
from engineworks.kernels.tactic import Word, Workspace

MOST_IN_A_BLOCK = 4096
"""Items that one block sorts."""
MERGED = 512
"""Items that one block places in a merge."""
LONGEST = 1 << 30
"""Elements of a line."""
LAST = 0xFFFF_FFFF_FFFF_FFFF
"""An item behind all others."""
_RUN = 2048
_WIDE_RUN = 128
_LARGEST_FINITE_ABOVE = {
    "f64": 0x7FF0 << 48,
    "f32": 0x7F800000,
    "f16": 0x7C00,
    "bf16": 0x7F80,
    "f8e4m3": 0x7E,
    "f8e5m2": 0x7C,
}
"""Magnitudes above are NaN."""


@dataclass(frozen=True, slots=True)
class LineSet:
    """The lines along one axis of a row-major tensor: element p of line l lies at (l // inner * length + p) * inner +
    l % inner.
    """

    outer: Dim
    length: Dim
    inner: Dim

    @property
    def count(self) -> Dim:
        return self.outer * self.inner

    @property
    def longest(self) -> int:
        """No line has more elements."""
        return min(bounds(self.length)[1] or LONGEST, LONGEST)


@dataclass(frozen=True, slots=True)
class Sorted:
    """Items in order: [lines, length] of `dtype` in the workspace, after the launches of `parts`.

    `workspace`: bytes of the buffers used.
    """

    parts: tuple[Part, ...]
    items: Workspace
    dtype: DType
    workspace: tuple[Dim, ...]


def is_narrow(dtype: DType) -> bool:
    """Items hold the element itself."""
    return dtype.size_bytes <= 4


def item_dtype(dtype: DType) -> DType:
    """What an item of elements of `dtype` is in memory."""
    return dtypes.u64 if is_narrow(dtype) else dtypes.i32


def index_of(item: str, dtype: DType) -> str:
    """Text of the index that an item of elements of `dtype` stands for."""
    return f"({item} & 0xFFFFFFFF).to(tl.int32)" if is_narrow(dtype) else item


def check_order(dtype: DType) -> None:
    """Raise NoTactic for floats without -0, whose codes order otherwise."""
    if dtype.is_float and dtype.name not in _LARGEST_FINITE_ABOVE:
        raise NoTactic(f"{dtype} is not sorted; cast to f16 before")


def ordering(dtype: DType, *, descending: bool = False) -> str:
    """A function `ordered(raw)` from the bits of elements to unsigned integers of their width that order as they do:
    NaN last, -0 as 0; `descending` gives the reverse order. `packed(raw, index)` makes items of it.
    """
    lines = Lines()
    sign = 1 << (dtype.size_bytes * 8 - 1)
    with lines.block("@triton.jit\ndef ordered(raw):"):
        if dtype.kind == "int":
            lines.line(f"raw = raw ^ {sign}")
        elif dtype.is_float:
            lines.line(f"size = raw & {sign - 1}")
            lines.line("raw = tl.where(size == 0, size, raw)")
            lines.line(f"raw = tl.where((raw & {sign}) != 0, raw ^ {2 * sign - 1}, raw | {sign})")
            lines.line(
                f"raw = tl.where(size > {_LARGEST_FINITE_ABOVE[dtype.name]}, raw | {2 * sign - 1}, raw)"
            )
        lines.line(f"return raw ^ {2 * sign - 1}" if descending else "return raw")
    if is_narrow(dtype):
        lines.line("")
        with lines.block("@triton.jit\ndef packed(raw, index):"):
            lines.line("return (ordered(raw).to(tl.uint64) << 32) | index.to(tl.uint64)")
    return str(lines)


# -- inside a block -------------------------------------------------------------------------------------------
class Network:
    """Emits a bitonic network over a block [rows, size] of items that keeps two or more of each row; powers of two all.

    A block is seen as a cube with one axis of size 2 for each bit of an index, so that partners are neighbours along
    an axis.
    """

    def __init__(self, lines: Lines, rows: int, size: int) -> None:
        self._lines, self._rows, self._size = lines, rows, size
        self._rank = (rows * size).bit_length() - 1
        self._bits: dict[tuple[int, int], str] = {}

    def first(self, items: str, keep: int, *, falling: bool = False) -> str:
        """Name of [rows, keep]: the smallest of each row, rising (or falling)."""
        kept, whole = keep.bit_length() - 1, self._size.bit_length() - 1
        cube = self._lines.let(f"tl.reshape({items}, {[2] * self._rank})" if self._rank else items, "cube")
        for stage in range(1, kept + 1):
            self._merge(cube, stage, None if stage == whole else stage, falling)
        for stage in range(kept + 1, whole + 1):
            cube = self._lines.let(f"tl.min({cube}, {self._rank - 1 - kept})", "cube")
            self._rank -= 1
            self._merge(cube, kept, None if stage == whole else kept, falling)
        return self._flat(cube, keep)

    def merged(self, rising: str, falling: str, keep: int) -> str:
        """Name of [rows, keep], rising: the smallest of two lists of so many."""
        self._rank = (self._rows * keep).bit_length() - 1
        shape = [2] * self._rank
        both = f"tl.minimum({rising}, {falling})"
        cube = self._lines.let(f"tl.reshape({both}, {shape})" if shape else both, "cube")
        self._merge(cube, keep.bit_length() - 1, None, False)
        return self._flat(cube, keep)

    def _flat(self, cube: str, keep: int) -> str:
        return self._lines.let(f"tl.reshape({cube}, [{self._rows}, {keep}])", "best")

    def _merge(self, cube: str, stage: int, alternating: int | None, falling: bool) -> None:
        """Compare and swap at distances 2^(stage - 1) … 1; the direction is the index's bit `alternating`."""
        for bit in reversed(range(stage)):
            self._lines.line(f"partner = tl.sum({cube}, {self._rank - 1 - bit}, keep_dims=True) - {cube}")
            swaps = self._bit(bit)
            if alternating is not None:
                swaps = f"({swaps} != {self._bit(alternating)})"
            relation = ">" if alternating is not None or not falling else "<"
            self._lines.line(f"{cube} = tl.where(({cube} {relation} partner) != {swaps}, partner, {cube})")

    def _bit(self, bit: int) -> str:
        key = (bit, self._rank)
        if key not in self._bits:
            shape = [1] * self._rank
            shape[self._rank - 1 - bit] = 2
            self._bits[key] = self._lines.let(f"tl.reshape(tl.arange(0, 2), {shape}) == 1", "bit")
        return self._bits[key]


# -- across blocks --------------------------------------------------------------------------------------------
_RUNS = """
{helpers}
@triton.jit
def KERNEL({parameters}):
    {wait}
    program = tl.program_id(0)
    line = (program // {blocks}).to({index})
    place = (program % {blocks}) * {run} + tl.arange(0, {run})
    inside = place < {length}
    base = (line // {inner} * {length}) * {inner} + line % {inner}
    raw = tl.load(x + base + place.to({index}) * {inner}, mask=inside, other=0)
    items = tl.where(inside, packed(raw, place), {last})
{network}
    tl.store(target + line * {length} + place, tl.reshape({best}, [{run}]), mask=inside)
"""
_WIDE_RUNS = """
{helpers}
@triton.jit
def KERNEL({parameters}):
    {wait}
    program = tl.program_id(0)
    line = (program // {blocks}).to({index})
    place = (program % {blocks}) * {run} + tl.arange(0, {run})
    inside = place < {length}
    base = (line // {inner} * {length}) * {inner} + line % {inner}
    first = (program % {blocks}) * {run}
    key = ordered(tl.load(x + base + place.to({index}) * {inner}, mask=inside, other=0))
    rank = tl.zeros([{run}], tl.int32)
    for other in range(first, tl.minimum(first + {run}, {length})):
        theirs = ordered(tl.load(x + base + (line * 0 + other) * {inner}))
        rank += ((theirs < key) | ((theirs == key) & (other < place))).to(tl.int32)
    tl.store(target + line * {length} + first + rank, place, mask=inside)
"""
_NUMBERED = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    place = tl.program_id(0) * {run} + tl.arange(0, {run})
    tl.store(target + place, place, mask=place < {length})
"""
_MERGE = """
{helpers}
@triton.jit
def KERNEL({parameters}):
    {wait}
    program = tl.program_id(0)
    line = (program // {blocks}).to({index})
    place = (program % {blocks}) * {block} + tl.arange(0, {block})
    inside = place < {length}
    base = (line // {inner} * {length}) * {inner} + line % {inner}
    items = source + line * {length}
    item = tl.load(items + place, mask=inside, other=0)
{own}
    run = place // {run}
    start = (run ^ 1) * {run}
    low = tl.zeros([{block}], tl.int32)
    high = tl.minimum(tl.maximum({length} - start, 0), {run}).to(tl.int32)
    high = tl.where(inside, high, 0)
    for step in range({steps}):
        is_open = low < high
        middle = (low + high) // 2
        other = tl.load(items + start + middle, mask=is_open, other=0)
{compare}
        goes_on = is_open & precedes
        high = tl.where(is_open & (precedes == 0), middle, high)
        low = tl.where(goes_on, middle + 1, low)
    to = (run // 2) * {pair} + (place - run * {run}) + low
    tl.store(target + line * {length} + to, item, mask=inside)
"""
_COMPARE_ITEMS = "        precedes = other < item"
_OWN_KEY = "    key = ordered(tl.load(x + base + item.to({index}) * {inner}, mask=inside, other=0))"
_COMPARE_KEYS = """\
        theirs = ordered(tl.load(x + base + other.to({index}) * {inner}, mask=is_open, other=0))
        precedes = (theirs < key) | ((theirs == key) & (other < item))"""
_COMPARE_SLICES = """\
        precedes = other < item
        undecided = is_open
        column = tl.full((), 0, {index})
        while (column < {columns}) & (tl.max(undecided.to(tl.int32), 0) > 0):
            row = column // {inner} * {length}
            rest = column % {inner}
            ours = ordered(tl.load(x + (row + item.to({index})) * {inner} + rest, mask=undecided, other=0))
            theirs = ordered(tl.load(x + (row + other.to({index})) * {inner} + rest, mask=undecided, other=0))
            precedes = tl.where(undecided & (theirs != ours), theirs < ours, precedes)
            undecided = undecided & (theirs == ours)
            column += 1"""


def sorted_lines(
    source: Word, dtype: DType, lines: LineSet, *, descending: bool = False, buffer: int = 0
) -> Sorted:
    """Sort every line of a tensor. `buffer`: the first of two that it uses in the workspace."""
    narrow = is_narrow(dtype)
    run = min(_RUN if narrow else _WIDE_RUN, power_of_two(max(2, lines.longest)))
    helpers = ordering(dtype, descending=descending)
    target = Workspace(buffer)
    launch = _launch(lines, run).bits("x", source, dtype).elements("target", target, item_dtype(dtype))
    launch.fill(helpers=helpers, last=LAST, run=run)
    if narrow:
        network = Lines(1)
        best = Network(network, 1, run).first("items", run)
        launch.fill(network=network, best=best)
    grid = (lines.count * ceil_div(lines.length, run),)
    parts = [launch.step("sort_runs", _RUNS if narrow else _WIDE_RUNS, grid, warps=8 if narrow else 4)]
    return _merged(parts, lines, source, dtype, run, buffer, helpers, "" if narrow else _OWN_KEY,
                   _COMPARE_ITEMS if narrow else _COMPARE_KEYS)  # fmt: skip


def sorted_slices(source: Word, dtype: DType, lines: LineSet, *, buffer: int = 0) -> Sorted:
    """Sort the slices across `lines` (there are lines.length) by all their elements, first columns first.

    Items are i32 indices: [length].
    """
    one = LineSet(1, lines.length, lines.inner)
    launch = Launch().sizes(length=lines.length).fill(run=1024)
    launch.elements("target", Workspace(buffer), dtypes.i32)
    parts = [launch.step("sort_numbers", _NUMBERED, (ceil_div(lines.length, 1024),))]
    return _merged(
        parts, one, source, dtype, 1, buffer, ordering(dtype), "", _COMPARE_SLICES, columns=lines.count
    )


def _launch(lines: LineSet, block: int) -> Launch:
    total = lines.count * lines.length
    return Launch().fill(index=index_cast(total)).sizes(
        blocks=ceil_div(lines.length, block), length=lines.length, inner=lines.inner
    )  # fmt: skip


def _merged(
    parts: list[Part], lines: LineSet, source: Word, dtype: DType, run: int, buffer: int, helpers: str, own: str,
    compare: str, columns: Dim | None = None,
) -> Sorted:  # fmt: skip
    """Merge runs of `run` items in one buffer, back and forth with the next one, until a line is one run.

    `columns`: elements of a slice, where slices are sorted.
    """
    count = 1 if columns is not None else lines.count
    items = dtypes.i32 if columns is not None else item_dtype(dtype)
    here, there = buffer, buffer + 1
    while run < lines.longest:
        launch = Launch()
        launch.elements("source", Workspace(here), items).elements("target", Workspace(there), items)
        if compare != _COMPARE_ITEMS:
            launch.bits("x", source, dtype)
        launch.sizes(length=lines.length, inner=lines.inner, blocks=ceil_div(lines.length, MERGED))
        index = index_cast(product((lines.length, lines.inner, columns or lines.outer)))
        launch.sizes(**({} if columns is None else {"columns": columns}))
        pieces = {"own": launch.filled(own, index=index), "compare": launch.filled(compare, index=index)}
        launch.fill(
            **pieces, helpers="" if compare == _COMPARE_ITEMS else helpers, index=index, run=run, pair=2 * run,
            block=MERGED, steps=run.bit_length(),
        )  # fmt: skip
        parts.append(launch.step("sort_merge", _MERGE, (count * ceil_div(lines.length, MERGED),)))
        run, here, there = 2 * run, there, here
    size = lines.length * count * items.size_bytes
    return Sorted(tuple(parts), Workspace(here), items, (size, size))
