"""Filters as the implicit matmul wants them: [group, output, k], k contiguous and padded with zeros."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engineworks.codegen.triton.function import KernelFunction, element_type, named
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.kernels.cuda.conv_shape import ConvShape
from engineworks.kernels.cuda.conv_words import Words
from engineworks.kernels.tactic import Input, Step, Word

PACK_BLOCK = 1024
"""Elements that one block packs at run time."""
BYTE_SHIFT = 128
"""What u8 operands are reduced by, so that they fit the i8 of the matrix units."""


@dataclass(frozen=True, slots=True)
class FilterLayout:
    """How filters [groups * outputs, channels, taps] become panels [groups', outputs', depth].

    Attributes:
        merged: groups that are computed as one, with zeros between them.
        by_tap: k runs over taps, then `channels` padded ones; else over all channels and taps, in `order`.
        order: of the digits of k: 'taps, channels' (channels innermost) or 'channels, taps'.
        outputs: of a panel, with padding. depth: of a panel, with padding.
        channels: of one tap, with padding ('by_tap').
    """

    merged: int
    by_tap: bool
    order: str
    outputs: int
    depth: int
    channels: int


def pack_filters(w: np.ndarray, groups: int, layout: FilterLayout, to: DType) -> np.ndarray:
    """[G * O, C, taps…] in the layout, as `to`; u8 filters become i8, less 128."""
    total, channels = w.shape[:2]
    outputs, merged = total // groups, layout.merged
    flat = w.reshape(groups // merged, merged, outputs, channels, -1)
    if w.dtype == np.uint8:
        flat = (flat.astype(np.int16) - BYTE_SHIFT).astype(np.int8)
    taps = flat.shape[-1]
    between = -BYTE_SHIFT if w.dtype == np.uint8 else 0  # what a zero becomes
    wide = np.full((groups // merged, merged, outputs, merged, channels, taps), between, to.numpy)
    for member in range(merged):
        wide[:, member, :, member] = flat[:, member].astype(to.numpy)
    joined = wide.reshape(groups // merged, merged * outputs, merged * channels, taps)
    made = np.zeros((groups // merged, layout.outputs, layout.depth), to.numpy)
    if layout.by_tap:
        room = made.reshape(groups // merged, layout.outputs, -1, layout.channels)
        room[:, : merged * outputs, :taps, : merged * channels] = joined.swapaxes(2, 3)
    else:
        ordered = joined.swapaxes(2, 3) if layout.order == "taps, channels" else joined
        made[:, : merged * outputs, : taps * merged * channels] = ordered.reshape(
            groups // merged, merged * outputs, -1
        )
    return made


def byte_shifts(w: np.ndarray, groups: int, layout: FilterLayout, x: DType) -> np.ndarray:
    """[groups', outputs'] i32: what is missing from the sums of shifted bytes, besides the rows' sums.

    With x = x' + a and w = w' + b (each 0 or 128): sum x w = sum x' w' + a sum w + b sum x', where sum x' also counts
    the -a under the zeros that pad k.
    """
    shift_x = BYTE_SHIFT if x.name == "u8" else 0
    shift_w = BYTE_SHIFT if w.dtype == np.uint8 else 0
    total = w.astype(np.int64).reshape(w.shape[0], -1).sum(1)
    panels = groups // layout.merged
    real = w.shape[1] * layout.merged * int(np.prod(w.shape[2:]))
    made = np.zeros((panels, layout.outputs), np.int64)
    made[:, : w.shape[0] // panels] = shift_x * total.reshape(panels, -1)
    return (made + shift_w * shift_x * (layout.depth - real)).astype(np.int32)


_PACK = """
@triton.jit
def KERNEL({parameters}):
    gdc_wait()
    gdc_launch_dependents()
    e = tl.program_id(0) * {block} + tl.arange(0, {block})
    k = e % {depth}
    panel = e // {depth}
    n = panel % {outputs_padded}
    group = panel // {outputs_padded}
    c = {channel}
    tap = {tap}
    real = (e < {count}) & (n < {outputs}) & (c < {channels}) & (tap < {taps})
    source = ((group * {outputs} + n) * {channels} + c) * {taps} + tap
    tl.store(packed + e, tl.load(w + source, mask=real, other=0).to(tl.{to}), mask=e < {count})
"""


def pack_step(
    shape: ConvShape, w: TensorType, layout: FilterLayout, to: DType, room: Word
) -> tuple[KernelFunction, Step]:
    """The kernel that packs filters (row-major, unmerged) that are computed at run time."""
    words, count = Words(), shape.groups * layout.outputs * layout.depth
    words.pointer("w", w.dtype, Input(1))
    words.pointer("packed", to, room)
    inner, taps = layout.channels if layout.by_tap else shape.channels, shape.taps
    by_channel = not layout.by_tap and layout.order == "channels, taps"
    text = _PACK.format(
        parameters=words.parameters, block=PACK_BLOCK, depth=layout.depth, outputs_padded=layout.outputs,
        channel=f"k // {taps}" if by_channel else f"k % {inner}",
        tap=f"k % {taps}" if by_channel else f"k // {inner}",
        count=count, outputs=shape.outputs, channels=shape.channels, taps=taps, to=_TRITON[element_type(to)],
    )  # fmt: skip
    function = named("conv_filters", text, words.arguments, waits=True)
    return function, Step(function.name, words.words, grid=(-(-count // PACK_BLOCK),))


_TRITON = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "i8": "int8"}
