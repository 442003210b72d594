"""Convolutions of any dtype, layout and attribute, both directions: one product of a column by a row at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.casts import held_type
from engineworks.codegen.triton.function import named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cuda.conv_cost import LAUNCH_S
from engineworks.kernels.cuda.conv_end import Block, Ending, emit_results, inside, masked, tap_digits
from engineworks.kernels.cuda.conv_image import ImageParts
from engineworks.kernels.cuda.conv_shape import conv_shape, tiles_of
from engineworks.kernels.cuda.conv_windows import emit_firsts, emit_tap, in_reach
from engineworks.kernels.cuda.conv_words import Words
from engineworks.kernels.tactic import Effort, Input, KernelImage, Step, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._product_types import product_dtype
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose

FRACTION_OF_PEAK = 0.05
"""Of the arithmetic outside of matrix units."""


@dataclass(frozen=True, slots=True)
class DirectConfig:
    """`pixels` by `outputs` results of a block."""

    pixels: int
    outputs: int


_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    group = tl.program_id(1)
    n = (tile % {tiles}) * {outputs} + tl.arange(0, {outputs})
    m = (tile // {tiles}) * {pixels} + tl.arange(0, {pixels})
{windows}
    gdc_wait()
    gdc_launch_dependents()
    sums = tl.zeros(({pixels}, {outputs}), {total})
    for step in range({steps}):
        tap = step // {channels}
        c = step % {channels}
{addresses}
        a = {a}
        b = {b}
        sums += a.to({total})[:, None] * b.to({total})[None, :]
{end}
"""


class CudaConvDirect:
    """conv and conv_transpose without matrix units."""

    name = "cuda.conv_direct"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """Two sizes of blocks.

        Raises:
            NoTactic: not a convolution, or more than three spatial axes.
        """
        shape = conv_shape(work)
        finish_of(work)
        outputs = min(32, max(4, 1 << (shape.outputs - 1).bit_length()))
        products = 2.0 * likely(shape.pixels) * shape.groups * shape.outputs * shape.channels * shape.taps
        peak = isa.float_flops * (1 if input_type(work, 0).dtype.bits < 64 else 0.5)
        seconds = LAUNCH_S + products / (peak * FRACTION_OF_PEAK) + shape.channels * shape.taps * 0.5e-6
        choices = [DirectConfig(1024 // outputs, outputs), DirectConfig(256 // outputs, outputs)]
        return [Tactic(self.name, c, seconds * (1 + 0.1 * k)) for k, c in enumerate(choices)][
            : 1 + (effort > 0)
        ]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """One kernel."""
        parts, words, shape, config = ImageParts(), Words(), conv_shape(work), tactic.config
        x, w = input_type(work, 0), input_type(work, 1)
        words.pointer("x", x.dtype, Input(0))
        words.pointer("w", w.dtype, Input(1))
        windows, addresses = Lines(1), Lines(2)
        firsts = emit_firsts(windows, words, shape, config.pixels)
        taps = tap_digits(addresses, "tap", shape.kernel)
        at, conditions, _ = emit_tap(addresses, words, shape, firsts, taps, x.count)
        c = f"({in_reach('group', x.count)} * {shape.channels} + c) * {words.size(shape.x_strides[1])}"
        a = f"tl.load(x + ({at} + {c}){masked(*conditions, other='0')})"
        filters, per_group = w.strides(), "group * {} + {}"
        order = ("c", "n") if isinstance(work.anchor, ConvTranspose) else ("n", "c")
        first = per_group.format(shape.outputs if order[0] == "n" else shape.channels, order[0])
        place = f"({first}) * {words.size(filters[0])} + {order[1]} * {words.size(filters[1])} + tap"
        columns = inside(shape.outputs, config.outputs, "n", words)
        b = f"tl.load(w + {place}{masked(columns, other='0')})"
        end = Ending(work, shape, words)
        emit_results(end, Block("m", "n", "group", config.pixels, config.outputs), "sums")
        tiles = -(-shape.outputs // config.outputs)
        text = _TEXT.format(
            parameters=words.parameters, tiles=tiles, outputs=config.outputs, pixels=config.pixels,
            windows=str(windows).rstrip(), total=sums_type(work), steps=shape.channels * shape.taps,
            channels=shape.channels, addresses=str(addresses).rstrip(), a=held(a, x.dtype), b=held(b, w.dtype),
            end=str(end.lines).rstrip(),
        )  # fmt: skip
        function = named("conv_direct", text, words.arguments, stages=1, waits=True)
        grid = (tiles_of(shape.pixels, config.pixels) * tiles, shape.groups)
        parts.add((function, Step(function.name, words.words, grid=grid)))
        return parts.image()


def sums_type(work: Workload) -> str:
    """Triton's type of a convolution's sums."""
    assert isinstance(work.anchor, (Conv, ConvTranspose)), f"{work.anchor} is not a convolution"
    x, w = input_type(work, 0).dtype, input_type(work, 1).dtype
    return held_type(product_dtype(x, w, work.anchor.out_dtype))


PROVIDERS = (CudaConvDirect(),)
