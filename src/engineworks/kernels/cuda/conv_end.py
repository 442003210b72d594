"""The end of convolution and pooling kernels: where outputs lie, bias and epilogue in registers, the store."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from engineworks.codegen.triton.epilogue import emit_epilogue
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held, stored
from engineworks.core.dims import Dim, multiple_of
from engineworks.ir.group import OperandKind
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cuda.conv_shape import ConvShape
from engineworks.kernels.cuda.conv_words import Words, is_narrow
from engineworks.kernels.tactic import Input, Output
from engineworks.kernels.workload import Epilogue, Workload

AXIS_NAMES = ("d", "h", "w")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of results [pixels, channels] in a kernel's text.

    Attributes:
        pixel: name of the pixels' numbers [P] over (image, depth, row, column) of the output.
        channel: name of the channels' numbers [C] in the group.
        group: name of the group's number, or '0'.
        pixels, channels: sizes of the block.
        gaps: numbers of pixels may lie beyond the last one, whatever their count.
    """

    pixel: str
    channel: str
    group: str
    pixels: int
    channels: int
    gaps: bool = False


@dataclass(slots=True)
class Ending:
    """What is known of a kernel when its results are to be stored.

    Attributes:
        lines: behind the sums.
        constants: before the kernel waits for those ahead; None: what could stand there stands in `lines`.
        early: after it has waited, before the sums; None: likewise. Operands that vary are loaded there only where
            there are registers for them.
    """

    work: Workload
    shape: ConvShape
    words: Words
    lines: Lines = field(default_factory=lambda: Lines(1))
    constants: Lines | None = None
    early: Lines | None = None


def coordinates(lines: Lines, words: Words, shape: ConvShape, pixel: str, prefix: str) -> tuple[str, ...]:
    """Names of (image, depth, row, column) of the pixels' numbers; '0' along axes of size 1."""
    rest, found = pixel, []
    for axis in (2, 1, 0):
        if shape.out[axis] == 1:
            found.insert(0, "0")
            continue
        extent = words.size(shape.out[axis])
        found.insert(0, lines.let(f"{rest} % {extent}", prefix))
        rest = lines.let(f"{rest} // {extent}", prefix)
    image = "0" if shape.batch == 1 else rest
    return (image, *found)


def tap_digits(lines: Lines, tap: str, kernel: tuple[int, ...], prefix: str = "t") -> tuple[str, ...]:
    """A tap's number as (depth, row, column), or any row-major number by the sizes given; '0' where a size is 1."""
    found: list[str] = []
    rest, left = tap, math.prod(kernel)
    for size in reversed(kernel):
        left //= size
        if size == 1:
            found.insert(0, "0")
            continue
        found.insert(0, lines.let(f"{rest} % {size}" if left > 1 else rest, prefix))
        if left > 1:
            rest = lines.let(f"{rest} // {size}", prefix)
    return tuple(found)


def weighted(terms: list[tuple[str, Dim]], words: Words, reach: Dim) -> str:
    """Sum of index times stride, in i64 where `reach`, the number of elements, may not fit 31 bits."""
    wide = "" if is_narrow(reach) else ".to(tl.int64)"
    parts = []
    for index, stride in terms:
        if index == "0" or stride == 0:
            continue
        factor = words.size(stride)
        parts.append(f"{index}{wide}" if factor == "1" else f"{index}{wide} * {factor}")
    return " + ".join(parts) or "0"


def inside(limit: Dim, block: int, name: str, words: Words) -> str | None:
    """The condition that `name`, numbers of blocks of a size (0: any), is below the limit; None where it always is."""
    if block == 0:
        return f"({name} < {words.size(limit)})"
    whole = limit % block == 0 if isinstance(limit, int) else multiple_of(limit) % block == 0
    return None if whole else f"({name} < {words.size(limit)})"


def masked(*conditions: str | None, other: str | None = None) -> str:
    """Arguments of a load or store: nothing where no condition is left."""
    given = [c for c in conditions if c]
    if not given:
        return ""
    return f", mask={' & '.join(given)}" + (f", other={other}" if other is not None else "")


def emit_results(end: Ending, block: Block, sums: str, output: int = 0, *, epilogue: bool = True) -> None:
    """Finish and store a block of sums.

    Raises:
        NoTactic: an operand of the epilogue does not lie like the output.
    """
    work, shape, words, lines = end.work, end.shape, end.words, end.lines
    rows = inside(shape.pixels, 0 if block.gaps else block.pixels, block.pixel, words)
    columns = inside(shape.outputs, block.channels, block.channel, words)
    mask = masked(rows and f"{rows}[:, None]", columns and f"{columns}[None, :]")
    finish = finish_of(work)
    places = end.early if end.early is not None else lines
    at = places.let(emit_places(end, block, places), "y_at")
    constants = end.constants if end.constants is not None else lines
    channel = (
        _emit_channel(constants, shape, block) if any(k == "channel" for _, k, _ in finish.operands) else ""
    )

    def load(number: int, kind: OperandKind) -> str:
        index, _, operand = finish.operands[number]
        base = words.pointer(f"e{index}", operand.type.dtype, Input(index))
        text = {
            "full": f"tl.load({base} + {at}{mask})",
            "channel": f"tl.load({base} + {channel}{masked(columns)})[None, :]",
            "scalar": f"tl.load({base})",
        }[kind]
        home = constants if operand.constant and kind != "full" else places
        return held(home.let(text, "y_operand"), operand.type.dtype)

    kinds: tuple[Any, ...] = tuple(kind for _, kind, _ in finish.operands)  # strings there, literals here
    whole = Epilogue(finish.expression, kinds) if finish.expression else None
    value = emit_epilogue(lines, whole if epilogue else None, sums, load)
    dtype = work.outputs[output].dtype
    y = words.pointer(f"y{output}", dtype, Output(output))
    lines.line(f"tl.store({y} + {at}, {stored(value, dtype)}{mask})")


def _emit_channel(lines: Lines, shape: ConvShape, block: Block) -> str:
    """The channels of y that the block has."""
    per_group, channel = shape.group_channels_out, block.channel
    if per_group != shape.outputs:
        channel = lines.let(f"{channel} % {per_group}", "y_channel")
    if shape.groups > 1:
        channel = lines.let(f"{block.group} * {per_group} + {channel}", "y_channel")
    return channel


def emit_places(end: Ending, block: Block, lines: Lines) -> str:
    """Elements from the start of the output to each result of a block [pixels, channels]."""
    shape, words = end.shape, end.words
    reach = end.work.outputs[0].count
    image, channel, *spatial = shape.y_strides
    if shape.writes_pixels:
        rows = weighted([(block.pixel, spatial[2])], words, reach)
    else:
        own, *places = coordinates(lines, words, shape, block.pixel, "y_place")
        rows = weighted([(own, image), *zip(places, spatial, strict=True)], words, reach)
    first = lines.let(f"{block.pixel} * 0" if rows == "0" else rows, "y_row")
    per_group = shape.group_channels_out
    columns = [(block.channel, channel)]
    if per_group != shape.outputs:
        columns = [(lines.let(f"{block.channel} % {per_group}", "y_output"), channel)]
        tap = lines.let(f"{block.channel} // {per_group}", "y_tap")
        places = tap_digits(lines, tap, shape.scatter, "y_tap")
        columns += [(place, spatial[a] // shape.scatter[a]) for a, place in enumerate(places)]
    if shape.groups > 1:
        columns.append((block.group, channel * per_group))
    start = f" + {words.size(shape.y_first)}" if shape.y_first != 0 else ""
    column = lines.let(weighted(columns, words, reach) + start, "y_column")
    return f"{first}[:, None] + {column}[None, :]"
