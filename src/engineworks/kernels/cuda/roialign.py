"""roi_align: a block makes some elements of one region; each lane finds the neighbours of its samples itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.native import LAUNCH_S, TYPICAL, NativeKernels, Way, image, streamed_s
from engineworks.kernels.cuda.words import Launch, conversions, index_cast
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.roi_align import RoiAlign


@dataclass(frozen=True, slots=True)
class Elements:
    """One block makes so many elements of a region."""

    block: int
    warps: int


_TEXT = """
{conversions}
@triton.jit
def neighbours(at, extent):
    outside = (at < -1.0) | (at > extent)
    reached = tl.maximum(at, 0.0)
    low = tl.minimum(tl.minimum(reached, 1.0e9).to(tl.int32), extent - 1)
    rest = tl.where(low >= extent - 1, 0.0, reached - low)
    high = tl.minimum(low + 1, extent - 1)
    return low, high, tl.where(outside, 0.0, 1.0 - rest), tl.where(outside, 0.0, rest)

@triton.jit
def KERNEL({parameters}):
    {wait}
    program = tl.program_id(0)
    region = (program // {blocks}).to({index})
    element = program % {blocks} * {block} + tl.arange(0, {block})
    inside = element < {channels} * {bins}
    column = element % {width}
    row = element // {width} % {height}
    channel = element // {bins}
    picture = tl.load(images + region).to({index})
    plane = x + (picture * {channels} + channel) * ({rows} * {columns})
    left = held(tl.load(regions + region * 4)).to(tl.float64) * {scale} - {shift}
    top = held(tl.load(regions + region * 4 + 1)).to(tl.float64) * {scale} - {shift}
    right = held(tl.load(regions + region * 4 + 2)).to(tl.float64) * {scale} - {shift}
    bottom = held(tl.load(regions + region * 4 + 3)).to(tl.float64) * {scale} - {shift}
    high_bin = tl.maximum(bottom - top, {least}) / {height}
    wide_bin = tl.maximum(right - left, {least}) / {width}
{samples}
    half = tl.full((), 0.5, {number})
    total = tl.zeros([{block}], {number})
    for i in range(0, down):
        at = high_bin.to({number}) * (row + (i + half) / down) + top.to({number})
        y0, y1, wy0, wy1 = neighbours(at, {rows})
        for j in range(0, across):
            at = wide_bin.to({number}) * (column + (j + half) / across) + left.to({number})
            x0, x1, wx0, wx1 = neighbours(at, {columns})
            v00 = held(tl.load(plane + y0 * {columns} + x0, mask=inside, other=0))
            v01 = held(tl.load(plane + y0 * {columns} + x1, mask=inside, other=0))
            v10 = held(tl.load(plane + y1 * {columns} + x0, mask=inside, other=0))
            v11 = held(tl.load(plane + y1 * {columns} + x1, mask=inside, other=0))
{combine}
    tl.store(y + region * ({channels} * {bins}) + element, stored({result}), mask=inside)
"""
_SAMPLES = """\
    down = tl.minimum(tl.maximum(tl.ceil(high_bin), 0.0), 1.0e9).to(tl.int32)
    across = tl.minimum(tl.maximum(tl.ceil(wide_bin), 0.0), 1.0e9).to(tl.int32)"""
_MEAN = "            total += (v00 * wx0 + v01 * wx1) * wy0 + (v10 * wx0 + v11 * wx1) * wy1"
_MAX = """\
            most = tl.maximum(tl.maximum(v00 * wy0 * wx0, v01 * wy0 * wx1, propagate_nan=tl.PropagateNan.ALL),
                              tl.maximum(v10 * wy1 * wx0, v11 * wy1 * wx1, propagate_nan=tl.PropagateNan.ALL),
                              propagate_nan=tl.PropagateNan.ALL)
            is_first = (i == 0) & (j == 0)
            total = tl.where(is_first, most, tl.maximum(total, most, propagate_nan=tl.PropagateNan.ALL))"""


class CudaRoiAlign(NativeKernels):
    """roi_align of f32, f16, bf16 and f64 (samples in fp32, or in fp64)."""

    name = "cuda.roialign"
    op = "roi_align"

    def refuse(self, work: Workload) -> None:
        if input_type(work, 0).dtype.name not in ("f32", "f64", "f16", "bf16"):
            raise NoTactic(f"no kernel for {input_type(work, 0).dtype}")

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        regions, channels, high, wide = (typical(d, TYPICAL) for d in work.outputs[0].shape)
        assert isinstance(work.anchor, RoiAlign)
        samples = (work.anchor.ratio or 2) ** 2
        work_s = regions * channels * high * wide * samples * 16 / gpu.bytes_per_s * 0.25
        found: list[Way] = []
        for block, warps in ((128, 4), (256, 4), (512, 8), (1024, 8)):
            waves = -(-regions * -(-channels * high * wide // block) // (gpu.processors * (32 // warps)))
            seconds = (
                LAUNCH_S + streamed_s(gpu, work) + max(work_s, waves * samples * 0.5e-6 * block / warps / 32)
            )
            found.append((Elements(block, warps), seconds))
        return found

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        op, x, way = work.anchor, input_type(work, 0), tactic.config
        assert isinstance(op, RoiAlign)
        regions, channels = work.outputs[0].shape[:2]
        bins = op.height * op.width
        launch = Launch().numbers("x", Input(0), x.dtype).numbers("regions", Input(1), x.dtype)
        launch.numbers("images", Input(2), input_type(work, 2).dtype).numbers("y", Output(0), x.dtype)
        blocks = ceil_div(channels * bins, way.block)
        launch.sizes(blocks=blocks, channels=channels, rows=x.shape[2], columns=x.shape[3])
        counts = f"    down = {op.ratio}\n    across = {op.ratio}"
        launch.fill(
            conversions=conversions(x.dtype), index=index_cast(x.count, work.outputs[0].count), block=way.block,
            bins=bins, height=op.height, width=op.width, scale=float(op.scale), shift=0.5 if op.half_pixel else 0.0,
            least="float('-inf')" if op.half_pixel else 1.0, samples=counts if op.ratio else _SAMPLES,
            number="tl.float64" if x.dtype.name == "f64" else "tl.float32",
            combine=_MEAN if op.combine == "mean" else _MAX,
            result="total / tl.maximum(down * across, 1)" if op.combine == "mean" else "total",
        )  # fmt: skip
        return image([launch.step("roialign", _TEXT, (regions * blocks,), warps=way.warps)])


PROVIDERS = (CudaRoiAlign(),)
