"""The second kernel of a convolution whose sums were made in parts: adds them in order, and finishes the results."""

from __future__ import annotations

from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.lines import Lines
from engineworks.core.dims import Dim
from engineworks.kernels.cuda.conv_end import Block, Ending, emit_results, inside, masked
from engineworks.kernels.cuda.conv_implicit import ImplicitMatmul, emit_shifts
from engineworks.kernels.cuda.conv_shape import tiles_of
from engineworks.kernels.cuda.conv_words import Words, is_narrow
from engineworks.kernels.tactic import Step, Word

BLOCK_ELEMENTS = 512
"""Results of one block: few, because all parts of each are read, and blocks should cover the GPU."""

_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    group = tl.program_id(1)
    n = (tile % {tiles}) * {outputs} + tl.arange(0, {outputs})
    m = (tile // {tiles}) * {pixels} + tl.arange(0, {pixels})
    at = partial + ((group * {all_pixels} + m{wide})[:, None] * {all_outputs} + n[None, :])
{constants}
    gdc_wait()
    gdc_launch_dependents()
{early}
    sums = tl.load(at{mask})
    for part in tl.static_range(1, {split}):
        sums += tl.load(at + part{wide_part} * {stride}{mask})
{end}
"""


def add_parts(problem: ImplicitMatmul, partial: Word) -> tuple[KernelFunction, Step]:
    """The kernel and its launch."""
    words, shape = Words(), problem.shape
    outputs = min(128, max(16, 1 << (shape.outputs - 1).bit_length()))
    pixels = BLOCK_ELEMENTS // outputs
    words.pointer("partial", problem.total, partial)
    rows, columns = inside(shape.pixels, pixels, "m", words), inside(shape.outputs, outputs, "n", words)
    mask = masked(rows and f"{rows}[:, None]", columns and f"{columns}[None, :]", other="0")
    end = Ending(problem.work, shape, words, constants=Lines(1), early=Lines(1))
    emit_shifts(end, problem)
    emit_results(end, Block("m", "n", "group", pixels, outputs), "sums")
    stride: Dim = shape.pixels * (shape.outputs * shape.groups)
    narrow = is_narrow(stride * problem.config.split)
    tiles = -(-shape.outputs // outputs)
    text = _TEXT.format(
        tiles=tiles, outputs=outputs, pixels=pixels, all_pixels=words.size(shape.pixels), all_outputs=shape.outputs,
        wide="" if narrow else ".to(tl.int64)", wide_part="" if narrow else " * tl.full((), 1, tl.int64)", mask=mask,
        split=problem.config.split, stride=words.size(stride), end=str(end.lines).rstrip(),
        constants=str(end.constants).rstrip(), early=str(end.early).rstrip(), parameters="PARAMETERS",
    ).replace("PARAMETERS", words.parameters)  # fmt: skip
    function = named("conv_parts", text, words.arguments, warps=4, stages=1, waits=True)
    grid = (tiles_of(shape.pixels, pixels) * tiles, shape.groups)
    return function, Step(function.name, words.words, grid=grid)
