"""Depthwise convolutions, both directions: multiply-adds over a block of pixels by channels, one tap at a time.

Neighbouring windows overlap; what they share comes from the first-level cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.function import named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cuda.conv_cost import LAUNCH_S
from engineworks.kernels.cuda.conv_direct import sums_type
from engineworks.kernels.cuda.conv_end import Block, Ending, emit_results, inside, masked
from engineworks.kernels.cuda.conv_image import ImageParts
from engineworks.kernels.cuda.conv_shape import ConvShape, conv_shape, tiles_of
from engineworks.kernels.cuda.conv_windows import emit_firsts, emit_tap, tap_digits, tap_range, widened
from engineworks.kernels.cuda.conv_words import Words
from engineworks.kernels.tactic import Effort, Input, KernelImage, Step, Tactic
from engineworks.kernels.workload import Workload, input_type

NEAR_BYTES_PER_S = 18e12
"""Of the first-level caches of 132 processors, as these kernels read them."""
KEPT = (1, 3, 5, 8, 12, 99)
"""Tactics by effort."""


@dataclass(frozen=True, slots=True)
class DepthwiseConfig:
    """`pixels` by `channels` results of a block of `warps`."""

    pixels: int
    channels: int
    warps: int


_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    n = (tile % {tiles}) * {channels} + tl.arange(0, {channels})
    m = (tile // {tiles}) * {pixels} + tl.arange(0, {pixels})
    c = {channel}
{windows}
    gdc_wait()
    gdc_launch_dependents()
    sums = tl.zeros(({pixels}, {channels}), {total})
    for tap in {taps}:
{addresses}
        a = {a}
        b = {b}
        sums += a.to({total}) * b.to({total})[None, :]
{end}
"""


class CudaDepthwise:
    """Convolutions whose groups have one channel, of any dtype and layout."""

    name = "cuda.depthwise"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """Blocks by predicted time.

        Raises:
            NoTactic: not a convolution, or groups of several channels.
        """
        shape = conv_shape(work)
        finish_of(work)
        if shape.channels != 1:
            raise NoTactic(f"groups of {shape.channels} channels are not depthwise")
        found = [
            Tactic(self.name, c, _seconds(work, shape, c, isa))
            for c in _configs(shape.groups * shape.outputs)
        ]
        return sorted(found, key=lambda t: t.predicted_s)[: KEPT[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """One kernel."""
        parts, words, config = ImageParts(), Words(), tactic.config
        grouped = conv_shape(work)
        outputs = grouped.groups * grouped.outputs
        shape = replace(grouped, groups=1, channels=grouped.groups, outputs=outputs)
        x, w = input_type(work, 0), input_type(work, 1)
        words.pointer("x", x.dtype, Input(0))
        taps_first = work.inputs[1] is not None and work.inputs[1].constant
        if taps_first:
            filters = parts.pack(
                lambda values: np.ascontiguousarray(np.asarray(values[1]).reshape(outputs, shape.taps).T)
            )
            words.pointer("w", w.dtype, filters)
        else:
            words.pointer("w", w.dtype, Input(1))
        windows, addresses = Lines(1), Lines(2)
        firsts = emit_firsts(windows, words, shape, config.pixels)
        taps = tap_digits(addresses, "tap", shape.kernel)
        at, conditions, _ = emit_tap(addresses, words, shape, firsts, taps, x.count)
        columns = inside(outputs, config.channels, "n", words)
        rows = [f"{c}[:, None]" for c in conditions]
        mask = masked(*rows, columns and f"{columns}[None, :]", other="0")
        channel = f"({widened('c', x.count)} * {words.size(shape.x_strides[1])})[None, :]"
        a = f"tl.load(x + (({at})[:, None] + {channel}){mask})"
        place = f"tap * {outputs} + n" if taps_first else f"n * {shape.taps} + tap"
        b = f"tl.load(w + {place}{masked(columns, other='0')})"
        end = Ending(work, shape, words)
        emit_results(end, Block("m", "n", "0", config.pixels, config.channels), "sums")
        tiles = -(-outputs // config.channels)
        text = _TEXT.format(
            parameters=words.parameters, tiles=tiles, channels=config.channels, pixels=config.pixels,
            channel="n" if grouped.outputs == 1 else f"n // {grouped.outputs}", windows=str(windows).rstrip(),
            total=sums_type(work), taps=tap_range(shape.taps), addresses=str(addresses).rstrip(),
            a=held(a, x.dtype), b=held(b, w.dtype), end=str(end.lines).rstrip(),
        )  # fmt: skip
        function = named("depthwise", text, words.arguments, warps=config.warps, stages=1, waits=True)
        grid = (tiles_of(shape.pixels, config.pixels) * tiles,)
        parts.add((function, Step(function.name, words.words, grid=grid)))
        return parts.image()


def _configs(outputs: int) -> list[DepthwiseConfig]:
    widest = min(256, max(8, 1 << (outputs - 1).bit_length()))
    sides = itertools.product((4, 8, 16, 32, 64, 128), (8, 16, 32, 64, 128, 256), (4, 8))
    return [
        DepthwiseConfig(pixels, channels, warps)
        for pixels, channels, warps in sides
        if channels <= widest and (channels >= 32 or channels == widest) and 256 * warps <= pixels * channels * 2
        and pixels * channels <= 1024 * warps
    ]  # fmt: skip


def _seconds(work: Workload, shape: ConvShape, config: DepthwiseConfig, isa: Gpu) -> float:
    """Predicted time: memory once, the near caches once for each tap, and what is lost at the edges of blocks."""
    x, y = input_type(work, 0), work.outputs[0]
    outputs, pixels = shape.groups * shape.outputs, likely(shape.pixels)
    tiles_down, tiles_across = -(-pixels // config.pixels), -(-outputs // config.channels)
    waste = tiles_down * config.pixels * tiles_across * config.channels / (pixels * outputs)
    memory = (likely(x.count) * x.dtype.size_bytes + likely(y.count) * y.dtype.size_bytes) / isa.bytes_per_s
    blocks = tiles_down * tiles_across
    resident = isa.processors * max(1, 48 // config.warps)
    full = -(-blocks // resident) * resident / blocks if blocks > resident else 1.0
    near = pixels * outputs * shape.taps * max(2, x.dtype.size_bytes) / NEAR_BYTES_PER_S * waste * full
    alone = config.pixels * config.channels / (32 * config.warps) * shape.taps * 4e-9
    return LAUNCH_S + max(memory, near) + alone


PROVIDERS = (CudaDepthwise(),)
