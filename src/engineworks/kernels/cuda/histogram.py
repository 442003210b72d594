"""histogram: the extremes of pieces, then every piece is counted in a table of its own and added to the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.native import (
    LAUNCH_S,
    TYPICAL,
    NativeKernels,
    Way,
    image,
    piece_of,
    power_of_two,
    streamed_s,
)
from engineworks.kernels.cuda.words import Launch, Part, index_cast
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic, Workspace
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.histogram import BELOW_EXPONENT, Histogram

MOST_IN_TABLES = 4096
"""Bins that fit a table in shared memory; of more, each element is added to the result itself."""
_LEAST_IN_TABLES = 128


@dataclass(frozen=True, slots=True)
class Split:
    """So many pieces at once, read in blocks."""

    pieces: int
    block: int


_SEEN = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    piece = tl.program_id(0)
    first = piece.to({index}) * {piece}
    last = tl.minimum(first + {piece}, {total})
    low = tl.full([{block}], float('inf'), tl.float32)
    high = tl.full([{block}], float('-inf'), tl.float32)
    broken = tl.zeros([{block}], tl.int32)
    for start in range(first, last, {block}):
        at = start + tl.arange(0, {block})
        inside = at < last
        value = tl.load(x + at, mask=inside, other=0.0)
        broken |= (inside & ((tl.abs(value) < float('inf')) == 0)).to(tl.int32)
        low = tl.where(inside, tl.minimum(low, value), low)
        high = tl.where(inside, tl.maximum(high, value), high)
    tl.store(seen + piece, tl.min(low, 0))
    tl.store(seen + {pieces} + piece, tl.max(high, 0))
    tl.store(seen + 2 * {pieces} + piece, tl.max(broken, 0).to(tl.float32))
    for start in range(piece * {block}, {bins}, {pieces} * {block}):
        at = start + tl.arange(0, {block})
        tl.store(counts + at, 0, mask=at < {bins})
"""
_COUNT = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    piece = tl.program_id(0)
    each = tl.arange(0, {room})
    known = each < {pieces}
    low = tl.min(tl.load(seen + each, mask=known, other=float('inf')), 0)
    high = tl.max(tl.load(seen + {pieces} + each, mask=known, other=float('-inf')), 0)
    broken = tl.max(tl.load(seen + 2 * {pieces} + each, mask=known, other=0.0), 0) > 0
    given = tl.load(limit)
    largest = tl.maximum(high, -low)
    above = tl.div_rn(largest, given).to(tl.int32, bitcast=True) + {mantissa}
    power = (above & ~{mantissa}).to(tl.float32, bitcast=True)
    doubled = given * tl.where(power > 1.0, power, 1.0)
    used = tl.where((doubled < float('inf')) & (given > 0), doubled, largest)
    used = tl.where(broken | (largest == float('-inf')), given, used)
    if piece == 0:
        tl.store(told, tl.where(broken, float('nan'), low))
        tl.store(told + 1, tl.where(broken, float('nan'), high))
        tl.store(told + 2, used)
    scale = tl.div_rn(tl.full((), {bins}, tl.float32), used)
    first = piece.to({index}) * {piece}
    last = tl.minimum(first + {piece}, {total})
{table}
    for start in range(first, last, {block}):
        at = start + tl.arange(0, {block})
        inside = at < last
        position = tl.abs(tl.load(x + at, mask=inside, other=0.0)) * scale
        found = tl.where(position < {bins} - 1, position, {bins} - 1).to(tl.int32)
{count}
"""
_TABLE = "    table = tl.zeros([{table_size}], tl.int32)"
_COUNT_IN_TABLE = """\
        table += tl.histogram(found, {table_size}, mask=inside)
    bin = tl.arange(0, {table_size})
    tl.atomic_add(counts + bin, table, mask=(bin < {bins}) & (table > 0), sem="relaxed")"""
_COUNT_EACH = '        tl.atomic_add(counts + found, 1, mask=inside, sem="relaxed")'


class CudaHistogram(NativeKernels):
    """histogram of f32, in any order of axes."""

    name = "cuda.histogram"
    op = "histogram"
    any_order = True

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        total = typical(input_type(work, 0).count, TYPICAL)
        stream_s = streamed_s(gpu, work, passes=2, launches=2)
        found: list[Way] = []
        for block in (1024, 4096):
            most = max(1, min(gpu.processors * 2, -(-total // block)))
            for pieces in {most, max(1, most // 2)}:
                rounds = -(-total // (pieces * block))
                found.append((Split(pieces, block), max(stream_s, rounds * 2.5e-6 + 2 * LAUNCH_S)))
        return found

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        way = tactic.config
        return image([_seen(work, way), _count(work, way)], workspace=[12 * way.pieces])


def _launch(work: Workload, way: Split) -> Launch:
    op, total = work.anchor, input_type(work, 0).count
    assert isinstance(op, Histogram)
    launch = Launch().elements("x", Input(0), dtypes.f32).elements("seen", Workspace(0), dtypes.f32)
    launch.elements("counts", Output(0), dtypes.i32)
    launch.sizes(total=total, piece=piece_of(total, way.pieces, way.block))
    return launch.fill(
        index=index_cast(total), pieces=way.pieces, block=way.block, bins=op.bins, mantissa=BELOW_EXPONENT
    )


def _seen(work: Workload, way: Split) -> Part:
    return _launch(work, way).step("histogram_seen", _SEEN, (way.pieces,))


def _count(work: Workload, way: Split) -> Part:
    assert isinstance(work.anchor, Histogram)
    launch = (
        _launch(work, way).elements("limit", Input(1), dtypes.f32).elements("told", Output(1), dtypes.f32)
    )
    size = max(_LEAST_IN_TABLES, power_of_two(work.anchor.bins))
    launch.fill(room=power_of_two(way.pieces), table_size=size)
    in_table = size <= MOST_IN_TABLES
    launch.fill(
        table=launch.filled(_TABLE) if in_table else "",
        count=launch.filled(_COUNT_IN_TABLE if in_table else _COUNT_EACH),
    )
    return launch.step("histogram_count", _COUNT, (way.pieces,))


PROVIDERS = (CudaHistogram(),)
