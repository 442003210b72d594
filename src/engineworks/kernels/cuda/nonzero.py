"""non_zero: pieces are counted, then each writes its indices behind those of the pieces before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import product
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
from engineworks.ops.non_zero import NonZero

MOST_PIECES = 1024
_BLOCK_S = 0.8e-6


@dataclass(frozen=True, slots=True)
class Split:
    """So many pieces at once, read in blocks."""

    pieces: int
    block: int
    warps: int


_COUNT = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    piece = tl.program_id(0)
    first = piece.to({index}) * {piece}
    last = tl.minimum(first + {piece}, {total})
    count = tl.zeros([{block}], tl.int32)
    for start in range(first, last, {block}):
        at = start + tl.arange(0, {block})
        raw = tl.load(x + at, mask=at < last, other=0)
        count += ({found}).to(tl.int32)
    tl.store(counts + piece, tl.sum(count, 0))
"""
_WRITE = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    piece = tl.program_id(0)
    first = piece.to({index}) * {piece}
    last = tl.minimum(first + {piece}, {total})
{places}
    if piece == 0:
        tl.store(slot, every.to(tl.int64))
    for start in range(first, last, {block}):
        at = start + tl.arange(0, {block})
        raw = tl.load(x + at, mask=at < last, other=0)
        found = {found}
        number = tl.cumsum(found.to(tl.int32), 0)
        to = y + before + number - 1
        before += tl.sum(found.to(tl.int32), 0)
{indices}
"""
_PLACES_OF_PIECES = """\
    each = tl.arange(0, {room})
    numbers = tl.load(counts + each, mask=each < {pieces}, other=0).to({index})
    before = tl.sum(tl.where(each < piece, numbers, 0), 0)
    every = tl.sum(numbers, 0)"""
_PLACES_OF_ONE = """\
    before = tl.full((), 0, {index})
    count = tl.zeros([{block}], {index})
    for start in range(first, last, {block}):
        at = start + tl.arange(0, {block})
        raw = tl.load(x + at, mask=at < last, other=0)
        count += ({found}).to({index})
    every = tl.sum(count, 0)"""


class CudaNonZero(NativeKernels):
    """non_zero of any dtype."""

    name = "cuda.nonzero"
    op = "non_zero"

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        total = typical(input_type(work, 0).count, TYPICAL)
        stream_s = streamed_s(gpu, work, passes=2, launches=0)
        found: list[Way] = []
        for block, warps in ((1024, 4), (2048, 8), (4096, 8)):
            most = min(MOST_PIECES, gpu.processors * 4, -(-total // block))
            for pieces in {1, max(1, most // 2), max(1, most)}:
                rounds = -(-total // (pieces * block))
                seconds = LAUNCH_S * (1 if pieces == 1 else 2) + max(stream_s, 2 * rounds * _BLOCK_S)
                found.append((Split(pieces, block, warps), seconds))
        return found

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        assert isinstance(work.anchor, NonZero)
        way, count = tactic.config, work.anchor.count
        if way.pieces == 1:
            return image([_step(work, way, _WRITE)], writes=[count])
        parts = [_step(work, way, _COUNT), _step(work, way, _WRITE)]
        return image(parts, workspace=[4 * way.pieces], writes=[count])


def _step(work: Workload, way: Split, text: str) -> Part:
    x, op = input_type(work, 0), work.anchor
    assert isinstance(op, NonZero)
    launch = Launch().bits("x", Input(0), x.dtype)
    if way.pieces > 1:
        launch.elements("counts", Workspace(0), dtypes.i32)
    total = product(x.shape)
    launch.sizes(total=total, piece=piece_of(total, way.pieces, way.block))
    # Without its sign a float is zero where all its bits are: -0 counts as zero.
    mask = (1 << (8 * x.dtype.size_bytes - 1)) - 1
    launch.fill(
        index=index_cast(total * max(1, x.rank)), pieces=way.pieces, block=way.block, room=power_of_two(way.pieces),
        found=f"(raw & {mask}) != 0" if x.dtype.is_float else "raw != 0",
    )  # fmt: skip
    if text == _WRITE:
        launch.symbol("slot", op.count).elements("y", Output(0), dtypes.i64)
        places = launch.filled(_PLACES_OF_ONE if way.pieces == 1 else _PLACES_OF_PIECES)
        launch.fill(places=places, indices=_coordinates(launch, work))
    return launch.step("nonzero", text, (way.pieces,), warps=way.warps)


def _coordinates(launch: Launch, work: Workload) -> str:
    """Statements that store the index of each axis; those of an axis lie `every` apart."""
    shape = input_type(work, 0).shape
    lines = []
    for axis in reversed(range(len(shape))):
        launch.sizes(extent=shape[axis])
        index = "at" if axis == 0 else launch.filled("at % {extent}")
        lines.append(f"        tl.store(to + {axis} * every, ({index}).to(tl.int64), mask=found)")
        if axis:
            lines.append(launch.filled("        at = at // {extent}"))
    return "\n".join(lines)


PROVIDERS = (CudaNonZero(),)
