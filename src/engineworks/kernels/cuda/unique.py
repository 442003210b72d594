"""unique: slices are sorted, runs of equal ones numbered, and the numbers carried back to where slices lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import ceil_div
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.native import (
    LAUNCH_S,
    TYPICAL,
    NativeKernels,
    Way,
    image,
    lines_of,
    piece_of,
    power_of_two,
    streamed_s,
)
from engineworks.kernels.cuda.sorting import (
    LineSet,
    Sorted,
    check_order,
    index_of,
    is_narrow,
    ordering,
    sorted_lines,
    sorted_slices,
)
from engineworks.kernels.cuda.words import Launch, Part, index_cast
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic, Workspace
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.unique import Unique

BLOCK = 1024
MOST_PIECES = 512


@dataclass(frozen=True, slots=True)
class Split:
    """Runs are numbered in so many pieces at once."""

    pieces: int


_PIECE = """
{helpers}
@triton.jit
def KERNEL({parameters}):
    {wait}
    piece = tl.program_id(0)
    first = piece * {piece}
    last = tl.minimum(first + {piece}, {length})
"""
_HEADS = (
    _PIECE
    + """
    count = tl.zeros([{block}], tl.int32)
    for start in range(first, last, {block}):
        place = start + tl.arange(0, {block})
        inside = place < last
        item = tl.load(items + place, mask=inside, other=0)
        before = tl.load(items + place - 1, mask=inside & (place > 0), other=0)
{differs}
        is_head = inside & (differs | (place == 0))
        tl.store(heads + place, is_head.to(tl.int32), mask=inside)
        count += is_head.to(tl.int32)
    tl.store(counts + piece, tl.sum(count, 0))
"""
)
_NUMBERED = (
    _PIECE
    + """
    each = tl.arange(0, {room})
    numbers = tl.load(counts + each, mask=each < {pieces}, other=0)
    before = tl.sum(tl.where(each < piece, numbers, 0), 0)
{every}
    for start in range(first, last, {block}):
        place = start + tl.arange(0, {block})
        inside = place < last
        is_head = tl.load({marks} + place, mask=inside, other=0)
        number = before + tl.cumsum(is_head, 0) - 1
        before += tl.sum(is_head, 0)
{store}
"""
)
_STORE_GROUPS = """\
        item = tl.load(items + place, mask=inside, other=0)
        source = {source}
        tl.store(group_of + source, number, mask=inside)
        tl.store(starts + number, place, mask=inside & (is_head != 0))
        tl.store(firsts + number, source, mask=inside & (is_head != 0))
        tl.store(is_first + source, is_head, mask=inside)"""
_STORE_EVERY = """\
    if piece == 0:
        tl.store(slot, tl.sum(numbers, 0).to(tl.int64))"""
_COUNT_FIRSTS = (
    _PIECE
    + """
    count = tl.zeros([{block}], tl.int32)
    for start in range(first, last, {block}):
        place = start + tl.arange(0, {block})
        count += tl.load(is_first + place, mask=place < last, other=0)
    tl.store(counts + piece, tl.sum(count, 0))
"""
)
_STORE_RANKS = """\
        group = tl.load(group_of + place, mask=inside, other=0)
        tl.store(ranks + group, number, mask=inside & (is_head != 0))"""
_PLACES = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    count = tl.load(slot).to(tl.int32)
    group = tl.program_id(0) * {block} + tl.arange(0, {block})
    is_group = group < count
    start = tl.load(starts + group, mask=is_group, other=0)
    end = tl.load(starts + group + 1, mask=group + 1 < count, other=0)
    end = tl.where(group + 1 < count, end, {length})
    rank = {rank_of_group}
    first = tl.load(firsts + group, mask=is_group, other=0)
    tl.store(first_out + rank, first.to(tl.int64), mask=is_group)
    tl.store(counts_out + rank, (end - start).to(tl.int64), mask=is_group)
    inside = group < {length}
    own = tl.load(group_of + group, mask=inside, other=0)
    tl.store(inverse_out + group, ({rank_of_own}).to(tl.int64), mask=inside)
"""
_SLICES = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    count = tl.load(slot).to({index})
    at = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    inside = at < {outer} * count * {inner}
    group = at // {inner} % tl.maximum(count, 1)
    row = at // {inner} // tl.maximum(count, 1)
    source = tl.load(first_out + group, mask=inside, other=0).to({index})
    value = tl.load(x + (row * {length} + source) * {inner} + at % {inner}, mask=inside, other=0)
    tl.store(y + at, value, mask=inside)
"""
_ITEMS_DIFFER = "        differs = (item >> 32) != (before >> 32)"
_KEYS_DIFFER = """\
        ours = ordered(tl.load(x + item, mask=inside, other=0))
        differs = ours != ordered(tl.load(x + before, mask=inside, other=0))"""
_SLICES_DIFFER = """\
        differs = place < 0
        undecided = inside & (place > 0)
        column = tl.full((), 0, {index})
        while (column < {columns}) & (tl.max(undecided.to(tl.int32), 0) > 0):
            row = column // {inner} * {length}
            rest = column % {inner}
            ours = ordered(tl.load(x + (row + item.to({index})) * {inner} + rest, mask=undecided, other=0))
            theirs = ordered(tl.load(x + (row + before.to({index})) * {inner} + rest, mask=undecided, other=0))
            differs = differs | (undecided & (theirs != ours))
            undecided = undecided & (theirs == ours)
            column += 1"""


class CudaUnique(NativeKernels):
    """unique along any axis."""

    name = "cuda.unique"
    op = "unique"

    def refuse(self, work: Workload) -> None:
        check_order(input_type(work, 0).dtype)

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        length = typical(_lines(work).length, TYPICAL)
        pieces = max(1, min(MOST_PIECES, gpu.processors * 2, -(-length // BLOCK)))
        passes = 8 + max(0, (length // 2048).bit_length())
        return [(Split(pieces), passes * (LAUNCH_S + streamed_s(gpu, work, launches=0)) + 1e-5)]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        return _Slices(work, tactic.config).image()


def _lines(work: Workload) -> LineSet:
    assert isinstance(work.anchor, Unique)
    x = input_type(work, 0)
    return LineSet(*lines_of(x.shape, work.anchor.axis % x.rank))


_BUFFERS = ("heads", "counts", "group_of", "starts", "firsts", "is_first", "ranks")
"""Of i32 each, behind the sorter's two in the workspace."""


class _Slices:
    """The launches of one problem. There are `length` slices."""

    def __init__(self, work: Workload, way: Split) -> None:
        assert isinstance(work.anchor, Unique)
        self.op, self.way, self.x, self.lines = work.anchor, way, input_type(work, 0), _lines(work)
        self.is_flat = self.lines.count == 1
        sort = sorted_lines if self.is_flat else sorted_slices
        self.order: Sorted = sort(Input(0), self.x.dtype, self.lines)

    def image(self) -> KernelImage:
        parts = [*self.order.parts, self._heads(), self._groups()]
        if not self.op.is_sorted:
            parts += [self._count_firsts(), self._ranks()]
        parts += [self._places(), self._slices()]
        length = self.lines.length * 4
        room = [self.way.pieces * 4 if name == "counts" else length for name in _BUFFERS]
        return image(parts, workspace=[*self.order.workspace, *room], writes=[self.op.count])

    def _launch(self, *buffers: str) -> Launch:
        launch = Launch()
        for name in buffers:
            if name == "items":
                launch.elements(name, self.order.items, self.order.dtype)
            else:
                launch.elements(name, Workspace(2 + _BUFFERS.index(name)), dtypes.i32)
        lines, way = self.lines, self.way
        launch.sizes(length=lines.length, inner=lines.inner, outer=lines.outer, columns=lines.count)
        launch.sizes(piece=piece_of(lines.length, way.pieces, BLOCK))
        return launch.fill(
            index=index_cast(self.x.count),
            pieces=way.pieces,
            room=power_of_two(way.pieces),
            block=BLOCK,
            helpers="",
        )

    def _heads(self) -> Part:
        launch = self._launch("items", "heads", "counts")
        differs = _ITEMS_DIFFER
        if not (self.is_flat and is_narrow(self.x.dtype)):
            launch.bits("x", Input(0), self.x.dtype).fill(helpers=ordering(self.x.dtype))
            differs = launch.filled(_KEYS_DIFFER if self.is_flat else _SLICES_DIFFER)
        return launch.fill(differs=differs).step("unique_heads", _HEADS, (self.way.pieces,))

    def _groups(self) -> Part:
        launch = self._launch("items", "heads", "counts", "group_of", "starts", "firsts", "is_first")
        source = index_of("item", self.x.dtype) if self.is_flat else "item"
        launch.symbol("slot", self.op.count).fill(every=_STORE_EVERY, marks="heads", source=source)
        launch.fill(store=launch.filled(_STORE_GROUPS))
        return launch.step("unique_groups", _NUMBERED, (self.way.pieces,))

    def _count_firsts(self) -> Part:
        return self._launch("is_first", "counts").step("unique_firsts", _COUNT_FIRSTS, (self.way.pieces,))

    def _ranks(self) -> Part:
        launch = self._launch("is_first", "counts", "group_of", "ranks")
        launch.fill(every="", marks="is_first", store=_STORE_RANKS)
        return launch.step("unique_ranks", _NUMBERED, (self.way.pieces,))

    def _places(self) -> Part:
        launch = self._launch("group_of", "starts", "firsts", "ranks").symbol("slot", self.op.count)
        for number, name in enumerate(("first_out", "inverse_out", "counts_out"), 1):
            launch.elements(name, Output(number), dtypes.i64)
        ranked = not self.op.is_sorted
        launch.fill(
            rank_of_group="tl.load(ranks + group, mask=is_group, other=0)" if ranked else "group",
            rank_of_own="tl.load(ranks + own, mask=inside, other=0)" if ranked else "own",
        )
        return launch.step("unique_places", _PLACES, (ceil_div(self.lines.length, BLOCK),))

    def _slices(self) -> Part:
        launch = self._launch().symbol("slot", self.op.count).elements("first_out", Output(1), dtypes.i64)
        launch.bits("x", Input(0), self.x.dtype).bits("y", Output(0), self.x.dtype)
        return launch.step("unique_slices", _SLICES, (ceil_div(self.x.count, BLOCK),))


PROVIDERS = (CudaUnique(),)
