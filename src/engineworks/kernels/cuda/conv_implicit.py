"""Convolution as a matrix product whose left operand is gathered while it is read: [pixels, k] by [k, outputs].

k runs over the taps and channels of a window. Nothing is copied: addresses of windows are worked out once for each
pixel, and a tap is an offset from them.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.kernels.cuda.conv_end import (
    AXIS_NAMES,
    Block,
    Ending,
    coordinates,
    emit_results,
    inside,
    masked,
    tap_digits,
    weighted,
)
from engineworks.kernels.cuda.conv_filters import BYTE_SHIFT, FilterLayout
from engineworks.kernels.cuda.conv_shape import AXES, ConvShape, tiles_of
from engineworks.kernels.cuda.conv_words import Words, is_narrow
from engineworks.kernels.tactic import Input, Packed, Step, Word
from engineworks.kernels.workload import Workload, input_type

MOST_MASKED_TAPS = 31
"""Taps whose validity fits the bits of one i32 a pixel."""
MOST_EARLY = 32
"""Results of a thread up to which operands behind the sums are loaded before them."""
MOST_PREFETCHING = 264
"""Blocks that ask for filters ahead: of many, most start when the kernel ahead has long ended."""


@dataclass(frozen=True, slots=True)
class ConvConfig:
    """A tile of an implicit matmul.

    Attributes:
        pixels, outputs, depth: of the tile, and of one step along k.
        warps, stages: as in `KernelFunction`.
        split: parts of k, summed by a second kernel.
        form: 'taps': a step stays within one tap; 'flat': k runs over everything, element by element; 'rows': likewise
            over windows whose rows are widened, so that elements are read in pairs (`widened`); 'boxes': tensor copies
            bring `box` (images, rows, columns) of pixels for each tap.
    """

    pixels: int
    outputs: int
    depth: int
    warps: int
    stages: int
    split: int = 1
    form: str = "taps"
    box: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class ImplicitMatmul:
    """One kernel to write.

    Attributes:
        shape: with groups as they are computed (merged).
        layout, filters, shifts: of the packed filters; their address; that of i32 to add to sums of shifted bytes.
        dtype: of the products' operands. tf32: f32 operands may be rounded to it.
        partial: sums of the parts of k go there, [part, group, pixel, output]; None: there is one part.
    """

    work: Workload
    shape: ConvShape
    config: ConvConfig
    layout: FilterLayout
    filters: Word
    shifts: Word | None
    dtype: DType
    tf32: bool
    partial: Word | None

    @property
    def total(self) -> DType:
        """Of the sums."""
        return dtypes.i32 if self.dtype is dtypes.i8 else dtypes.f32


_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    group = tl.program_id(1)
    part = tl.program_id(2)
    n = (tile % {tiles}) * {outputs} + tl.arange(0, {outputs})
    m = (tile // {tiles}) * {pixels} + tl.arange(0, {pixels})
    k = tl.arange(0, {depth})
{windows}
    w_at = w + (group * {panel} + n * {length})[None, :] + k[:, None]
{constants}
    gdc_wait()
    gdc_launch_dependents()
{early}
    sums = tl.zeros(({pixels}, {outputs}), {total})
    for step in range({steps}):
{addresses}
        a = tl.load({a_at})
        b = tl.load(w_at + step * {depth})
        sums = tl.dot({left}, b, sums{precision})
{end}
"""
_TEXT_OF_BYTES = _TEXT.replace(
    "    for step", "    rows = tl.zeros(({pixels},), tl.int32)\n    for step"
).replace("        sums =", "        rows += tl.sum({left}.to(tl.int32), axis=1)\n        sums =")
"""For filters of u8, less 128: 128 times each row's sum is missing."""


def implicit_matmul(problem: ImplicitMatmul) -> tuple[KernelFunction, Step]:
    """The kernel and its launch.

    Raises:
        NoTactic: an operand of the epilogue does not lie like the output.
    """
    words, config, shape, layout = Words(), problem.config, problem.shape, problem.layout
    x, w = input_type(problem.work, 0), input_type(problem.work, 1)
    words.pointer("x", x.dtype, Input(0))
    words.pointer("w", problem.dtype, problem.filters)
    windows, addresses = Lines(1), Lines(2)
    firsts = _emit_windows(windows, words, problem, x.count)
    a_at = (_emit_tap if config.form == "taps" else _emit_flat)(addresses, words, problem, firsts)
    sums_rows = w.dtype.name == "u8"
    end = emit_end(words, problem, sums_rows)
    tiles = layout.outputs // config.outputs
    assert end.constants is not None, "constants are loaded first"
    emit_prefetch(end.constants, problem, "w", tiles_of(shape.pixels, config.pixels), f"tile // {tiles}")
    text = (_TEXT_OF_BYTES if sums_rows else _TEXT).format(
        parameters=words.parameters, tiles=tiles, pixels=config.pixels, outputs=config.outputs, depth=config.depth,
        windows=str(windows).rstrip(), panel=layout.outputs * layout.depth, length=layout.depth,
        total="tl.int32" if problem.total is dtypes.i32 else "tl.float32", steps=steps_of(problem),
        addresses=str(addresses).rstrip(), a_at=a_at, left=left_operand(x.dtype, problem.dtype),
        precision=precision_option(problem), constants=str(end.constants).rstrip(), early=str(end.early or "").rstrip(),
        end=str(end.lines).rstrip(),
    )  # fmt: skip
    function = named("conv", text, words.arguments, warps=config.warps, stages=config.stages, waits=True)
    grid = (tiles_of(shape.pixels, config.pixels) * tiles, shape.groups, config.split)
    return function, Step(function.name, words.words, grid=grid)


def _emit_windows(lines: Lines, words: Words, problem: ImplicitMatmul, reach: Dim) -> tuple[str, ...]:
    """`x_at`, where each pixel's window begins; names of its first index along the axes.

    Rows beyond the last pixel read the last one's window, and store nothing. Where the taps can be counted in bits,
    `valid` has one for each tap that lies in x.
    """
    shape, config = problem.shape, problem.config
    image, channel, *spatial = shape.x_strides
    beyond = inside(shape.pixels, config.pixels, "m", words)
    pixel = lines.let(f"tl.minimum(m, {words.size(shape.pixels)} - 1)", "pixel") if beyond else "m"
    own_group = [("group", channel * shape.channels)] if shape.groups > 1 else []
    if shape.reads_pixels:
        lines.line(f"x_at = x + ({weighted([(pixel, spatial[2]), *own_group], words, reach)})")
        return ("0",) * AXES
    number, *places = coordinates(lines, words, shape, pixel, "p")
    firsts = []
    for a, place in enumerate(places):
        moved = place if shape.strides[a] == 1 else f"{place} * {shape.strides[a]}"
        still = place == "0" and shape.before[a] == 0 and not shape.may_leave(a)
        plain = "0" if still else f"{moved} - {words.size(shape.before[a])}"
        firsts.append(
            plain if plain == "0" else lines.let(plain if place != "0" else f"{plain} + m * 0", AXIS_NAMES[a])
        )
    at = weighted([(number, image), *zip(firsts, spatial, strict=True), *own_group], words, reach)
    lines.line(f"x_at = x + ({at}{'' if at != '0' else ' + m * 0'})")
    if config.form == "taps" and shape.taps <= MOST_MASKED_TAPS and any(map(shape.may_leave, range(AXES))):
        _emit_valid(lines, words, shape, firsts)
    return tuple(firsts)


def _emit_valid(lines: Lines, words: Words, shape: ConvShape, firsts: list[str]) -> None:
    """`valid`: bit t is set where tap t lies in x."""
    whole = []
    for a in range(AXES):
        kernel, step = shape.kernel[a], shape.steps[a]
        if not shape.may_leave(a):
            whole.append(["1"] * kernel)
            continue
        extent = words.size(shape.size[a])
        whole.append(
            [lines.let(f"(({firsts[a]} + {t * step} >= 0) & ({firsts[a]} + {t * step} < {extent})).to(tl.int32)", "in")
             for t in range(kernel)]
        )  # fmt: skip
    lines.line("valid = m * 0")
    tap = 0
    for d in whole[0]:
        for h in whole[1]:
            for w in whole[2]:
                lines.line(f"valid |= ({d} & {h} & {w}) << {tap}")
                tap += 1


def _emit_tap(lines: Lines, words: Words, problem: ImplicitMatmul, firsts: tuple[str, ...]) -> str:
    """The load of `a`, where a step stays within one tap."""
    shape, layout, depth = problem.shape, problem.layout, problem.config.depth
    per_tap, channel = layout.channels // depth, shape.x_strides[1]
    tap = "0" if shape.taps == 1 else "step" if per_tap == 1 else lines.let(f"step // {per_tap}", "tap")
    c = f"step * {depth}" if shape.taps == 1 else "0" if per_tap == 1 else f"(step % {per_tap}) * {depth}"
    taps = tap_digits(lines, tap, shape.kernel)
    terms = [(t, s * stride) for t, s, stride in zip(taps, shape.steps, shape.x_strides[2:], strict=True)]
    offset = lines.let(f"{weighted(terms, words, 0)} + ({c} + k) * {words.size(channel)}", "offset")
    rows = None
    if any(map(shape.may_leave, range(AXES))):
        rows = f"(((valid >> {tap}) & 1) != 0)[:, None]"
        if shape.taps > MOST_MASKED_TAPS:
            rows = " & ".join(_leaving(words, shape, firsts, taps, "[:, None]", ""))
    short = f"({c} + k < {shape.channels})[None, :]" if layout.channels != shape.channels else None
    return f"x_at[:, None] + {offset}[None, :]{masked(rows, short, other='0')}"


def _emit_flat(lines: Lines, words: Words, problem: ImplicitMatmul, firsts: tuple[str, ...]) -> str:
    """The load of `a`, where k runs over all taps and channels."""
    shape, layout = problem.shape, problem.layout
    flat = lines.let(f"step * {problem.config.depth} + k", "flat")
    # The digit that is innermost in memory is split off first: the compiler then sees that it runs on.
    if layout.order == "taps, channels":
        *taps, c = tap_digits(lines, flat, (*shape.kernel, shape.channels))
    else:
        c, *taps = tap_digits(lines, flat, (shape.channels, *shape.kernel))
    terms = [(t, s * stride) for t, s, stride in zip(taps, shape.steps, shape.x_strides[2:], strict=True)]
    terms.append((c, shape.x_strides[1]))
    text = weighted(terms, words, 0)
    offset = lines.let(f"{flat} * 0" if text == "0" else text, "offset")
    real = shape.channels * shape.taps
    rest = f"({flat} < {real})[None, :]" if layout.depth != real else None
    leaving = _leaving(words, shape, firsts, tuple(taps), "[:, None]", "[None, :]")
    return f"x_at[:, None] + {offset}[None, :]{masked(*leaving, rest, other='0')}"


def _leaving(
    words: Words, shape: ConvShape, firsts: tuple[str, ...], taps: tuple[str, ...], row: str, column: str
) -> list[str]:
    """Conditions that hold where a tap lies in x."""
    found = []
    for a in range(AXES):
        if shape.may_leave(a):
            moved = f" + ({taps[a]} * {shape.steps[a]}){column}" if taps[a] != "0" else ""
            at = f"({firsts[a]}{row}{moved})"
            found += [f"({at} >= 0)", f"({at} < {words.size(shape.size[a])})"]
    return found


def steps_of(problem: ImplicitMatmul) -> str:
    """Bounds of the loop along k."""
    steps, split = problem.layout.depth // problem.config.depth, problem.config.split
    if split == 1:
        return f"0, {steps}"
    share = -(-steps // split)
    return f"part * {share}, tl.minimum(part * {share} + {share}, {steps})"


def left_operand(x: DType, to: DType) -> str:
    """The products' left operand; u8 becomes i8, less 128."""
    if x.name == "u8":
        return f"(a ^ {BYTE_SHIFT}).to(tl.int8, bitcast=True)"
    return "a" if x is to else "a.to(tl.float32)"


def precision_option(problem: ImplicitMatmul) -> str:
    """The last argument of the product, with its comma."""
    if problem.dtype is dtypes.i8:
        return ", out_dtype=tl.int32"
    if problem.dtype is dtypes.f32:
        return f', input_precision="{"tf32" if problem.tf32 else "ieee"}"'
    return ""


def emit_prefetch(lines: Lines, problem: ImplicitMatmul, pointer: str, down: Dim, row: str) -> None:
    """Packed filters are asked for while the kernels ahead still run: blocks that share a panel take a slice each.

    Args:
        pointer: to the filters. down, row: tiles of pixels, and the block's.
    """
    shape, config, layout = problem.shape, problem.config, problem.layout
    tiles, panel, size = (
        layout.outputs // config.outputs,
        config.outputs * layout.depth,
        problem.dtype.size_bytes,
    )
    shared = down if isinstance(down, int) else 1
    if (
        not isinstance(problem.filters, Packed)
        or shared * config.split * shape.groups * tiles > MOST_PREFETCHING
    ):
        return
    slices = -(-(panel * size // 16) // (shared * config.split))
    own = f"({row}) * {config.split} + part" if shared > 1 else "part"
    start = f"tl.minimum(({own}) * {slices * 16 // size}, {panel - slices * 16 // size})"
    place = f"group * {layout.outputs * layout.depth} + (tile % {tiles}) * {panel}"
    lines.line(f"prefetch({pointer} + {place} + {start}, {slices * 16})")


def emit_end(words: Words, problem: ImplicitMatmul, sums_rows: bool, *, gaps: bool = False) -> Ending:
    """What follows the loop, and what of it can be loaded before.

    Args:
        gaps: numbers of pixels may lie beyond the last one, whatever their count.
    """
    config = problem.config
    few = config.pixels * config.outputs <= MOST_EARLY * 32 * config.warps
    end = Ending(problem.work, problem.shape, words, constants=Lines(1), early=Lines(1) if few else None)
    if sums_rows:
        end.lines.line(f"sums += rows[:, None] * {BYTE_SHIFT}")
    block = Block("m", "n", "group", config.pixels, config.outputs, gaps)
    if problem.partial is None:
        emit_shifts(end, problem)
        emit_results(end, block, "sums")
    else:
        _emit_partial(end, problem, problem.partial, gaps)
    return end


def emit_shifts(end: Ending, problem: ImplicitMatmul) -> None:
    """Add what shifting bytes left out."""
    if problem.shifts is not None:
        base = end.words.pointer("shifts", dtypes.i32, problem.shifts)
        end.lines.line(f"sums += tl.load({base} + group * {problem.layout.outputs} + n)[None, :]")


def _emit_partial(end: Ending, problem: ImplicitMatmul, partial: Word, gaps: bool) -> None:
    shape, words, config = problem.shape, end.words, problem.config
    base = words.pointer("partial", problem.total, partial)
    wide = "" if is_narrow(shape.pixels * shape.outputs * shape.groups * config.split) else ".to(tl.int64)"
    end.lines.line(
        f"to = ((part * {shape.groups} + group){wide} * {words.size(shape.pixels)} + m) * {shape.outputs}"
    )
    rows = inside(shape.pixels, 0 if gaps else config.pixels, "m", words)
    columns = inside(shape.outputs, config.outputs, "n", words)
    mask = masked(rows and f"{rows}[:, None]", columns and f"{columns}[None, :]")
    end.lines.line(f"tl.store({base} + to[:, None] + n[None, :], sums{mask})")
