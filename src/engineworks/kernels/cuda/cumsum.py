"""cum_sum: running sums or products, blocks of a line one after another; pieces of long lines at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.casts import held_type
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.native import (
    LAUNCH_S,
    TYPICAL,
    NativeKernels,
    Way,
    bytes_of,
    image,
    lines_of,
    piece_of,
    power_of_two,
)
from engineworks.kernels.cuda.words import Launch, Part, conversions, index_cast, sum_type
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic, Workspace
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.cum_sum import CumSum

_SUMS = {
    "tl.float32": dtypes.f32,
    "tl.float64": dtypes.f64,
    "tl.int32": dtypes.i32,
    "tl.int64": dtypes.i64,
    "tl.uint32": dtypes.u32,
    "tl.uint64": dtypes.u64,
}
_BLOCK_S = 1.2e-6
"""One block of a line: from its loads to the next one's."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Blocks of `block` elements of `width` neighbouring lines; `pieces` of a line are scanned at once."""

    pieces: int
    block: int
    width: int
    warps: int


_HEAD = """
{conversions}
@triton.jit
def KERNEL({parameters}):
    {wait}
    program = tl.program_id(0)
    piece = program % {pieces}
    line = (program // {pieces}).to({index}) * {width} + tl.arange(0, {width})[None, :]
    base = (line // {inner} * {length}) * {inner} + line % {inner}
    first = piece * {piece}
    last = tl.minimum(first + {piece}, {length})
    carry = tl.full([1, {width}], {neutral}, {sums})
{carry}
    for start in range(first, last, {block}):
        place = start + tl.arange(0, {block})[:, None]
        source = {source}
        inside = (place < last) & (line < {lines}) & (place >= {skipped})
        raw = tl.load(x + base + source.to({index}) * {inner}, mask=inside, other=0)
        value = tl.where(inside, held(raw).to({sums}), {neutral})
        running = {scan}
        total = tl.sum(tl.where(tl.arange(0, {block})[:, None] == {block} - 1, running, 0), 0, keep_dims=True)
"""
_TOTALS = (
    _HEAD
    + """
        carry = carry {sign} total.to({sums})
    wanted = line < {lines}
    tl.store(totals + line * {pieces} + piece, carry, mask=wanted)
"""
)
_SCAN = (
    _HEAD
    + """
        to = (place if {rises} else {length} - 1 - place).to({index}) * {inner}
        result = (carry {sign} running).to({sums})
        tl.store(y + base + to, stored(result.to({held})), mask=(place < last) & (line < {lines}))
        carry = carry {sign} total.to({sums})
"""
)
_CARRY = """\
    before = tl.arange(0, {room})[:, None]
    known = (before < piece) & (line < {lines})
    sums = tl.load(totals + line * {pieces} + before, mask=known, other={neutral})
    sums = {scan_of_sums}
    carry = tl.sum(tl.where(before == {room} - 1, sums, 0), 0, keep_dims=True).to({sums})"""


class CudaCumSum(NativeKernels):
    """cum_sum along any axis; sums of narrow floats are kept in fp32."""

    name = "cuda.cumsum"
    op = "cum_sum"

    def refuse(self, work: Workload) -> None:
        if input_type(work, 0).dtype.kind not in ("float", "int", "uint"):
            raise NoTactic("only numbers add up")

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        op, x = work.anchor, input_type(work, 0)
        assert isinstance(op, CumSum)
        outer, length, inner = (typical(d, TYPICAL) for d in lines_of(x.shape, op.axis % x.rank))
        lines, size = outer * inner, bytes_of(x)
        return [(w, _predicted_s(gpu, w, lines, length, size)) for w in _ways(gpu, lines, length, inner)]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        way = tactic.config
        if way.pieces == 1:
            return image([_step(work, way, "scan")])
        x, op = input_type(work, 0), work.anchor
        assert isinstance(op, CumSum)
        outer, _, inner = lines_of(x.shape, op.axis % x.rank)
        size = 8 if x.dtype.size_bytes == 8 else 4
        parts = [_step(work, way, "totals"), _step(work, way, "scan")]
        return image(parts, workspace=[outer * inner * way.pieces * size])


def _ways(gpu: Gpu, lines: int, length: int, inner: int) -> list[Scan]:
    """Few short blocks side by side where lines are neighbours, long ones where they are not."""
    found = []
    room = power_of_two(max(1, length))
    for width in (1, 4, 16, 32, 64) if inner == 1 else (8, 16, 32, 64, 128):
        if width > 2 * power_of_two(max(1, lines)) and width > 8:
            continue
        for block in (16, 64, 256, 1024, 2048):
            if not 64 <= block * width <= 8192 or block > max(16, room):
                continue
            most = max(1, length // (4 * block))
            groups = max(1, -(-lines // width))
            wanted = max(1, gpu.processors * 2 // groups)
            for pieces in {1, min(most, wanted, 256)}:
                found.append(Scan(pieces, block, width, max(1, min(8, block * width // 256))))
    return found or [Scan(1, 16, 8, 1)]


def _predicted_s(gpu: Gpu, way: Scan, lines: int, length: int, size: int) -> float:
    programs = -(-lines // way.width) * way.pieces
    waves = -(-programs // (gpu.processors * max(1, 16 // way.warps)))
    rounds = -(-length // (way.pieces * way.block))
    passes = 2 if way.pieces == 1 else 3
    busy = min(1.0, programs * way.warps / (gpu.processors * 8))
    stream = passes * size / (gpu.bytes_per_s * busy)
    work_s = max(waves * rounds * _BLOCK_S * max(1.0, way.block * way.width / (way.warps * 512)), stream)
    return LAUNCH_S * (1 if way.pieces == 1 else 2) + work_s * (1 if way.pieces == 1 else 1.6)


def _step(work: Workload, way: Scan, what: str) -> Part:
    """The kernel of sums of pieces ('totals'), or the one that writes the result ('scan')."""
    op, x = work.anchor, input_type(work, 0)
    assert isinstance(op, CumSum)
    outer, length, inner = lines_of(x.shape, op.axis % x.rank)
    launch = Launch().numbers("x", Input(0), x.dtype)
    if what == "scan":
        launch.numbers("y", Output(0), x.dtype)
    if way.pieces > 1:
        launch.numbers("totals", Workspace(0), _SUMS[sum_type(x.dtype)])
    sums = op.combine == "sum"
    place = "place - 1" if op.exclusive else "place"
    launch.sizes(
        length=length, inner=inner, lines=outer * inner, piece=piece_of(length, way.pieces, way.block)
    )
    launch.fill(
        conversions=conversions(x.dtype), index=index_cast(x.count), sums=sum_type(x.dtype), held=held_type(x.dtype),
        pieces=way.pieces, width=way.width, block=way.block, room=power_of_two(way.pieces),
        neutral=0 if sums else 1, sign="+" if sums else "*", skipped=1 if op.exclusive else 0,
        scan="tl.cumsum(value, 0)" if sums else "tl.cumprod(value, 0)", rises=not op.reverse,
        scan_of_sums="tl.cumsum(sums, 0)" if sums else "tl.cumprod(sums, 0)",
    )  # fmt: skip
    launch.fill(source=launch.filled("{length} - 1 - (" + place + ")") if op.reverse else place)
    launch.fill(carry=launch.filled(_CARRY) if way.pieces > 1 and what == "scan" else "")
    text = _SCAN if what == "scan" else _TOTALS
    return launch.step(
        f"cumsum_{what}", text, (ceil_div(outer * inner, way.width) * way.pieces,), warps=way.warps
    )


PROVIDERS = (CudaCumSum(),)
