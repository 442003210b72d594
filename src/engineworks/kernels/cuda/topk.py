"""top_k: one block sorts short lines; pieces of long ones give their best to a last block; or all is sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, ceil_div
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
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
    LAST,
    MOST_IN_A_BLOCK,
    LineSet,
    Network,
    check_order,
    index_of,
    is_narrow,
    ordering,
    sorted_lines,
)
from engineworks.kernels.cuda.words import Launch, Part, index_cast
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic, Word, Workspace
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.top_k import TopK

MOST_SELECTED = 1024
"""Largest k for which pieces are searched."""
_STEP_S = 25e-9
"""One step of a network over up to 1024 items in a block of 8 warps."""


@dataclass(frozen=True, slots=True)
class Whole:
    """One block sorts `rows` whole lines, each padded to `size` items."""

    rows: int
    size: int
    warps: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """Blocks search `pieces` of a line, `block` elements at a time; one more merges what they found."""

    pieces: int
    block: int
    warps: int


@dataclass(frozen=True, slots=True)
class SortAll:
    """All lines are sorted in memory."""


_WHOLE = """
{helpers}
@triton.jit
def KERNEL({parameters}):
    {wait}
    line = tl.program_id(0).to({index}) * {rows} + tl.arange(0, {rows})[:, None]
    place = tl.arange(0, {size})[None, :]
    base = (line // {inner} * {length}) * {inner} + line % {inner}
    inside = (line < {lines}) & (place < {length})
    raw = tl.load(x + base + place.to({index}) * {inner}, mask=inside, other=0)
    items = tl.where(inside, packed(raw, place), {last})
{network}
    number = tl.arange(0, {keep})[None, :]
    chosen = {chosen}
    wanted = (line < {lines}) & (number < {count})
    to = (line // {inner} * {count} + number) * {inner} + line % {inner}
    tl.store(values + to, tl.load(x + base + chosen.to({index}) * {inner}, mask=wanted, other=0), mask=wanted)
    tl.store(indices + to, chosen.to(tl.int64), mask=wanted)
"""
_SEARCH = """
{helpers}
@triton.jit
def KERNEL({parameters}):
    {wait}
    program = tl.program_id(0)
    line = (program // {pieces}).to({index})
    first = program % {pieces} * {piece}
    last = tl.minimum(first + {piece}, {items})
    base = (line // {inner} * {length}) * {inner} + line % {inner}
    best = tl.full([1, {keep}], {last_item}, tl.uint64)
    for start in range(first, last, {block}):
        place = (start + tl.arange(0, {block})).to({index})
        inside = place < last
{load}
        if tl.min(item, 0) < tl.max(tl.reshape(best, [{keep}]), 0):
{network}
            best = {best}
    number = tl.arange(0, {keep})
    best = tl.reshape(best, [{keep}])
{store}
"""
_LOAD_ELEMENTS = """\
        raw = tl.load(x + base + place * {inner}, mask=inside, other=0)
        item = tl.where(inside, packed(raw, place), {last_item})"""
_LOAD_ITEMS = "        item = tl.load(found + line * {items} + place, mask=inside, other={last_item})"
_STORE_ITEMS = "    tl.store(found + program.to({index}) * {keep} + number, best)"
_STORE_RESULTS = """\
    chosen = {chosen}
    wanted = number < {count}
    to = (line // {inner} * {count} + number) * {inner} + line % {inner}
    tl.store(values + to, tl.load(x + base + chosen.to({index}) * {inner}, mask=wanted, other=0), mask=wanted)
    tl.store(indices + to, chosen.to(tl.int64), mask=wanted)"""
_TAKE = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    at = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    wanted = at < {lines} * {count}
    line = at // {count}
    number = at % {count}
    chosen = {chosen}
    base = (line // {inner} * {length}) * {inner} + line % {inner}
    to = (line // {inner} * {count} + number) * {inner} + line % {inner}
    tl.store(values + to, tl.load(x + base + chosen.to({index}) * {inner}, mask=wanted, other=0), mask=wanted)
    tl.store(indices + to, chosen.to(tl.int64), mask=wanted)
"""


class CudaTopK(NativeKernels):
    """top_k along any axis of a row-major tensor."""

    name = "cuda.topk"
    op = "top_k"

    def refuse(self, work: Workload) -> None:
        check_order(input_type(work, 0).dtype)

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        lines, count, dtype = _problem(work)
        steps_s = streamed_s(gpu, work)
        found: list[Way] = [(SortAll(), _sorting_s(gpu, lines, dtype) + steps_s)]
        if not is_narrow(dtype):
            return found
        keep = _kept(lines, count)
        rows = typical(lines.count, TYPICAL)
        if lines.longest <= MOST_IN_A_BLOCK:
            found += [(w, steps_s + _whole_s(gpu, w, rows, keep)) for w in _wholes(lines, rows)]
        if keep <= MOST_SELECTED:
            length = typical(lines.length, TYPICAL)
            found += [
                (w, steps_s + _pieces_s(gpu, w, rows, length, keep)) for w in _pieces(gpu, rows, length, keep)
            ]
        return found

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        lines, count, dtype = _problem(work)
        op = work.anchor
        assert isinstance(op, TopK)
        match tactic.config:
            case Whole() as way:
                return image([_whole(lines, count, dtype, op.largest, way)])
            case Pieces() as way:
                return _searched(lines, count, dtype, op.largest, way)
        order = sorted_lines(Input(0), dtype, lines, descending=op.largest)
        launch = _results(lines, count, dtype).elements("items", order.items, order.dtype)
        item = launch.filled("tl.load(items + line * {length} + number, mask=wanted, other=0)")
        launch.fill(block=512, chosen=index_of(item, dtype)).sizes(lines=lines.count)
        taken = launch.step("topk_take", _TAKE, (ceil_div(lines.count * count, 512),))
        return image([*order.parts, taken], workspace=order.workspace)


def _problem(work: Workload) -> tuple[LineSet, Dim, DType]:
    op, x = work.anchor, input_type(work, 0)
    assert isinstance(op, TopK)
    lines = LineSet(*lines_of(x.shape, op.axis % x.rank))
    low = bounds(lines.length)[0]
    if low is not None and low > 1 << 30:
        raise NoTactic("lines of more than 2^30 elements")
    return lines, op.k, x.dtype


def _kept(lines: LineSet, count: Dim) -> int:
    """Items of a line that a network keeps."""
    highest = bounds(count)[1]
    return power_of_two(max(2, lines.longest if highest is None else min(highest, lines.longest)))


# -- predictions ----------------------------------------------------------------------------------------------
def _network_s(size: int, keep: int, warps: int) -> float:
    """Sorting the first `keep` of `size` items."""
    whole, kept = size.bit_length() - 1, keep.bit_length() - 1
    steps = kept * (kept + 1) / 2 + (whole - kept) * (kept + 1)
    return steps * _STEP_S * max(1.0, size / (warps * 128))


def _whole_s(gpu: Gpu, way: Whole, rows: int, keep: int) -> float:
    waves = -(-rows // (way.rows * gpu.processors * 2))
    return waves * _network_s(way.rows * way.size, min(keep, way.size), way.warps)


def _pieces_s(gpu: Gpu, way: Pieces, rows: int, length: int, keep: int) -> float:
    one = _network_s(way.block, keep, way.warps)

    def search(items: int) -> float:
        """Most blocks of a long piece hold nothing better, and are only read."""
        rounds = -(-items // way.block)
        return one * (1 + min(rounds - 1, 3)) + rounds * 0.6e-6

    waves = -(-rows * way.pieces // (gpu.processors * 2))
    total = waves * search(-(-length // way.pieces))
    return (
        total
        if way.pieces == 1
        else total + LAUNCH_S + search(way.pieces * keep) * -(-rows // gpu.processors)
    )


def _sorting_s(gpu: Gpu, lines: LineSet, dtype: DType) -> float:
    items = typical(lines.count * lines.length, TYPICAL)
    passes = max(0, (min(lines.longest, items) // 2048).bit_length())
    return (passes + 2) * (LAUNCH_S + items * 8 * 6 / gpu.bytes_per_s) + 8e-6


def _wholes(lines: LineSet, rows: int) -> list[Whole]:
    size = power_of_two(max(2, lines.longest))
    many = [r for r in (1, 2, 4, 8, 16, 32) if r * size <= max(1024, size) and r < 2 * rows]
    return [
        Whole(r, size, w)
        for r in many
        for w in (1, 2, 4, 8, 16)
        if 32 <= r * size // w <= 1024 or w == 1 >= r
    ]


def _pieces(gpu: Gpu, rows: int, length: int, keep: int) -> list[Pieces]:
    found = []
    for block, warps in ((1024, 4), (2048, 8), (4096, 8)):
        most = max(1, -(-length // max(block, 2 * keep)))
        counts = {min(most, max(1, gpu.processors * w // max(1, rows))) for w in (1, 2, 4)} | {
            1,
            min(most, 16),
        }
        found += [Pieces(n, block, warps) for n in sorted(counts) if keep <= block]
    return found


# -- kernels --------------------------------------------------------------------------------------------------
def _results(lines: LineSet, count: Dim, dtype: DType) -> Launch:
    """A launch that writes the outputs."""
    launch = Launch().bits("x", Input(0), dtype)
    launch.bits("values", Output(0), dtype).elements("indices", Output(1), dtypes.i64)
    return launch.fill(index=index_cast(lines.count * lines.length)).sizes(
        length=lines.length, inner=lines.inner, count=count
    )


def _whole(lines: LineSet, count: Dim, dtype: DType, largest: bool, way: Whole) -> Part:
    keep = _kept(lines, count)
    network = Lines(1)
    best = Network(network, way.rows, way.size).first("items", keep)
    launch = _results(lines, count, dtype).sizes(lines=lines.count)
    launch.fill(
        helpers=ordering(dtype, descending=largest), rows=way.rows, size=way.size, keep=keep, last=LAST,
        network=network, chosen=index_of(best, dtype),
    )  # fmt: skip
    return launch.step("topk", _WHOLE, (ceil_div(lines.count, way.rows),), warps=way.warps)


def _searched(lines: LineSet, count: Dim, dtype: DType, largest: bool, way: Pieces) -> KernelImage:
    keep = _kept(lines, count)
    helpers = ordering(dtype, descending=largest)
    if way.pieces == 1:
        return image([_search(lines, count, dtype, helpers, way, keep, None, None)])
    found = Workspace(0)
    first = _search(lines, count, dtype, helpers, way, keep, None, found)
    one = Pieces(1, way.block, way.warps)
    second = _search(lines, count, dtype, "", one, keep, (found, way.pieces * keep), None)
    return image([first, second], workspace=[lines.count * way.pieces * keep * 8])


def _search(
    lines: LineSet, count: Dim, dtype: DType, helpers: str, way: Pieces, keep: int, source: tuple[Word, int] | None,
    target: Word | None,
) -> Part:  # fmt: skip
    """From elements, or the items found by others, to items for others, or the results."""
    launch = Launch().fill(index=index_cast(lines.count * lines.length, lines.count * way.pieces * keep))
    if source or target:
        launch.elements("found", source[0] if source else target or Workspace(0), dtypes.u64)
    launch.bits("x", Input(0), dtype)
    if target is None:
        launch.bits("values", Output(0), dtype).elements("indices", Output(1), dtypes.i64)
    items: Dim = source[1] if source else lines.length
    launch.sizes(
        length=lines.length,
        inner=lines.inner,
        count=count,
        items=items,
        piece=piece_of(items, way.pieces, way.block),
    )
    network = Lines(3)
    maker = Network(network, 1, way.block)
    best = maker.merged("best", maker.first("item", keep, falling=True), keep)
    launch.fill(keep=keep, last_item=LAST, pieces=way.pieces, block=way.block, chosen=index_of("best", dtype))
    launch.fill(
        helpers=helpers, network=network, best=best, load=launch.filled(_LOAD_ITEMS if source else _LOAD_ELEMENTS),
        store=launch.filled(_STORE_ITEMS if target else _STORE_RESULTS),
    )  # fmt: skip
    return launch.step("topk_search", _SEARCH, (lines.count * way.pieces,), warps=way.warps)


PROVIDERS = (CudaTopK(),)
