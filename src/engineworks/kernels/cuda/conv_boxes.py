"""Convolutions whose operands the GPU's tensor copies bring: boxes of pixels, shifted by each tap.

What a box has outside of x arrives as zeros, so padding needs no masks. With strides, x is seen as [images, rows /
stride, stride, columns / stride, stride x channels]: a tap then reads neighbours of one remainder. Outputs are the rows
of the product and pixels its columns: so both operands go from shared memory to the matrix units without passing
through registers.
"""

from __future__ import annotations

from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, multiple_of
from engineworks.core.dtypes import DType
from engineworks.kernels.cuda.conv_end import tap_digits
from engineworks.kernels.cuda.conv_implicit import (
    ImplicitMatmul,
    emit_end,
    emit_prefetch,
    left_operand,
    precision_option,
    steps_of,
)
from engineworks.kernels.cuda.conv_shape import AXES, ConvShape
from engineworks.kernels.cuda.matmul_text import Parameters, box_of
from engineworks.kernels.tactic import Input, Packed, Step, TensorMap, Workspace
from engineworks.kernels.workload import input_type

ALIGNMENT = 16
"""Bytes that strides of a tensor map are a multiple of."""

_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    group = tl.program_id(1)
    part = tl.program_id(2)
    n = (tile % {tiles}) * {outputs} + tl.arange(0, {outputs})
    box = tile // {tiles}
    first_w = (box % {across}) * {width}
    first_h = ((box // {across}) % {down}) * {height}
    first_image = (box // ({across} * {down})) * {images}
    i = tl.arange(0, {pixels})
    w = first_w + i % {width}
    h = first_h + (i // {width}) % {height}
    image = first_image + i // {area}
    m = (image * {all_height} + h) * {all_width} + w
{beyond}
{constants}
    gdc_wait()
    gdc_launch_dependents()
{early}
    sums = tl.zeros(({outputs}, {pixels}), {total})
    for step in range({steps}):
{addresses}
        a = {x}.load([first_image, {places}, {c}]).reshape({pixels}, {depth})
        b = {filters}.load([group * {panel_outputs} + (tile % {tiles}) * {outputs}, step * {depth}])
        sums = tl.dot(b, {left}.T, sums{precision})
    sums = sums.T
{end}
"""


def boxes_fit(shape: ConvShape, x: DType, w: DType, gpu: Gpu) -> bool:
    """Tensor copies can bring the windows."""
    image, channel, _, row, column = shape.x_strides
    channels = shape.channels * shape.groups
    divided = all(
        shape.strides[a] == 1
        or (multiple_of(shape.size[a]) % shape.strides[a] == 0 and isinstance(shape.before[a], int))
        for a in (1, 2)
    ) and (shape.strides[2] == 1 or column == channels)
    plane = shape.size[0] == 1 and shape.kernel[0] == 1 and shape.out[0] == 1 and shape.before[0] == 0
    aligned = all(multiple_of(s) * x.size_bytes % ALIGNMENT == 0 for s in (image, row, column) if s != 0)
    whole = shape.divisors == (1,) * AXES and shape.scatter == (1,) * AXES
    return (
        gpu.has("tma") and plane and aligned and whole and divided and channel == 1 and not shape.reads_pixels
        and x is w and x.name in ("f16", "bf16", "i8")
    )  # fmt: skip


def all_boxes(sizes: tuple[Dim, ...], box: tuple[int, int, int]) -> Dim:
    """How many boxes cover (images, rows, columns)."""
    return ceil_div(sizes[0], box[0]) * ceil_div(sizes[1], box[1]) * ceil_div(sizes[2], box[2])


def conv_by_boxes(problem: ImplicitMatmul) -> tuple[KernelFunction, Step]:
    """The kernel and its launch.

    Raises:
        NoTactic: an operand of the epilogue does not lie like the output.
    """
    words, config, shape, layout = Parameters(), problem.config, problem.shape, problem.layout
    x = input_type(problem.work, 0)
    images, height, width = config.box
    sizes = (shape.batch, shape.out[1], shape.out[2])
    tiles = layout.outputs // config.outputs
    x_map, w_map = _maps(words, problem, x.dtype)
    addresses, beyond = Lines(2), Lines(1)
    c, places = _emit_tap(addresses, words, problem)
    gaps = any(multiple_of(d) % b for d, b in zip(sizes, config.box, strict=True))
    if gaps:
        inside = " & ".join(
            f"({name} < {words.size(d)})" for name, d in zip(("image", "h", "w"), sizes, strict=True)
        )
        beyond.line(f"m = tl.where({inside}, m, {words.size(shape.pixels)})")
    end = emit_end(words, problem, False, gaps=gaps)
    assert end.constants is not None, "constants are loaded first"
    if isinstance(problem.filters, Packed):
        words.pointer("filters", problem.dtype, problem.filters)
    emit_prefetch(end.constants, problem, "filters", all_boxes(sizes, config.box), "box")
    text = _TEXT.format(
        tiles=tiles, outputs=config.outputs, pixels=config.pixels, depth=config.depth, images=images, height=height,
        width=width, area=height * width, across=words.size(ceil_div(sizes[2], width)),
        down=words.size(ceil_div(sizes[1], height)), all_height=words.size(sizes[1]), all_width=words.size(sizes[2]),
        beyond=str(beyond).rstrip(), constants=str(end.constants).rstrip(), early=str(end.early or "").rstrip(),
        total="tl.int32" if problem.total is dtypes.i32 else "tl.float32", steps=steps_of(problem),
        addresses=str(addresses).rstrip(), x=x_map, filters=w_map, places=places, c=c,
        panel_outputs=layout.outputs, left=left_operand(x.dtype, problem.dtype),
        precision=precision_option(problem), end=str(end.lines).rstrip(), parameters="PARAMETERS",
    ).replace("PARAMETERS", words.parameters)  # fmt: skip
    function = named(
        "conv_boxes", text, words.arguments, warps=config.warps, stages=config.stages, waits=True
    )
    grid = (all_boxes(sizes, config.box) * tiles, shape.groups, config.split)
    return function, Step(function.name, words.words, grid=grid)


def _maps(words: Parameters, problem: ImplicitMatmul, x: DType) -> tuple[str, str]:
    """Names of the maps of x and of the packed filters."""
    shape, config, layout = problem.shape, problem.config, problem.layout
    images, height, width = config.box
    down, across = shape.strides[1:]
    rows, columns, channels = shape.size[1], shape.size[2], shape.channels * shape.groups
    image, _, _, row, column = shape.x_strides
    row = row if row != 0 else column * columns  # one axis alone
    if down == across == 1:
        block: tuple[int, ...] = (*config.box, config.depth)
        sizes: tuple[Dim, ...] = (shape.batch, rows, columns, channels)
        strides: tuple[Dim, ...] = (image, row, column, 1)
    else:
        block = (images, height, 1, width, config.depth)
        sizes = (shape.batch, rows // down, down, columns // across, channels * across)
        strides = (image, row * down, row, column * across, 1)
    pixels = TensorMap(Input(0), x, sizes, strides, box_of(block, x))
    panel = (config.outputs, config.depth)
    base = problem.filters
    assert isinstance(base, Packed | Workspace), "filters are packed"
    filters = TensorMap(
        base, problem.dtype, (shape.groups * layout.outputs, layout.depth), (layout.depth, 1),
        box_of(panel, problem.dtype),
    )  # fmt: skip
    return words.map("x_map", pixels, block), words.map("w_map", filters, panel)


def _emit_tap(lines: Lines, words: Parameters, problem: ImplicitMatmul) -> tuple[str, str]:
    """Where the box of a step begins along channels, and along the axes between images and channels."""
    shape, depth = problem.shape, problem.config.depth
    per_tap, (_, down, across) = problem.layout.channels // depth, shape.strides
    tap = "0" if shape.taps == 1 else "step" if per_tap == 1 else lines.let(f"step // {per_tap}", "tap")
    c = f"step * {depth}" if shape.taps == 1 else "0" if per_tap == 1 else f"(step % {per_tap}) * {depth}"
    c = f"group * {shape.channels} + {c}" if shape.groups > 1 else c
    taps = tap_digits(lines, tap, shape.kernel)
    moved = [f"{taps[a]} * {shape.steps[a]} - {words.size(shape.before[a])}" for a in (1, 2)]
    if down == across == 1:
        return c, f"first_h + {moved[0]}, first_w + {moved[1]}"
    (h, h_rest), (w, w_rest) = (
        _divided(lines, text, shape, a) for text, a in zip(moved, (1, 2), strict=True)
    )
    c = f"{w_rest} * {shape.channels * shape.groups} + {c}" if across > 1 else c
    return c, f"first_h + {h}, {h_rest}, first_w + {w}"


def _divided(lines: Lines, text: str, shape: ConvShape, axis: int) -> tuple[str, str]:
    """A tap's distance from its pixel as whole strides (rounded down) and the rest."""
    stride, before = shape.strides[axis], shape.before[axis]
    if stride == 1:
        return text, "0"
    assert isinstance(before, int), "strides divide known paddings"
    lift = -(-max(before, 0) // stride)  # what is divided is not negative
    lifted = lines.let(f"{text} + {lift * stride}", "lifted")
    return f"{lifted} // {stride} - {lift}", f"({lifted} % {stride})"
