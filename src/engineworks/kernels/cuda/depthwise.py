"""Depthwise convolutions, both directions: multiply-adds over a block of pixels by channels, one tap at a time.

Neighbouring windows overlap; what they share comes from the first-level cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from engineworks.codegen.triton.function import named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cuda.conv_direct import sums_type
from engineworks.kernels.cuda.conv_end import Block, Ending, emit_results, inside, masked, tap_digits
from engineworks.kernels.cuda.conv_image import ImageParts
from engineworks.kernels.cuda.conv_shape import conv_shape, tiles_of
from engineworks.kernels.cuda.conv_windows import emit_firsts, emit_tap, in_reach, tap_range
from engineworks.kernels.cuda.conv_words import Words
from engineworks.kernels.cuda.pool_blocks import ranked_blocks
from engineworks.kernels.tactic import Effort, Input, KernelImage, Step, Tactic
from engineworks.kernels.workload import Workload, input_type

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
        return ranked_blocks(self.name, work, shape, shape.groups * shape.outputs, isa, effort)

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
        channel = f"({in_reach('c', x.count)} * {words.size(shape.x_strides[1])})[None, :]"
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


PROVIDERS = (CudaDepthwise(),)
