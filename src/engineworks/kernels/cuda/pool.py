"""Poolings over blocks of pixels by channels: maxima (and where they are), means and norms, of any dtype and layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from engineworks.codegen.triton.casts import held_type
from engineworks.codegen.triton.function import named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import constant, held
from engineworks.core.dims import ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.core.shapes import Window
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.pool_loops import Pool, pool_of
from engineworks.kernels.cuda.conv_end import Block, Ending, emit_results, inside, masked, tap_digits
from engineworks.kernels.cuda.conv_image import ImageParts
from engineworks.kernels.cuda.conv_shape import AXES, ConvShape, leading, spread, tiles_of
from engineworks.kernels.cuda.conv_windows import emit_firsts, emit_tap, in_reach, tap_range
from engineworks.kernels.cuda.conv_words import Words
from engineworks.kernels.cuda.pool_blocks import BlockConfig, ranked_blocks
from engineworks.kernels.tactic import Effort, Input, KernelImage, Step, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops._windows import per_axis
from engineworks.ops.average_pool import AveragePool
from engineworks.ops.lp_pool import LpPool
from engineworks.ops.max_pool import MaxPool

_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    n = (tile % {tiles}) * {channels} + tl.arange(0, {channels})
    m = (tile // {tiles}) * {pixels} + tl.arange(0, {pixels})
{windows}
    gdc_wait()
    gdc_launch_dependents()
{begin}
    for tap in {taps}:
{addresses}
        a = {a}
{fold}
{end}
"""


@dataclass(slots=True)
class _Kernel:
    """One pooling while its text is written."""

    work: Workload
    op: Pool
    x: TensorType
    placed: tuple[Window, ...]
    shape: ConvShape
    config: BlockConfig
    words: Words

    @property
    def held(self) -> str:
        return held_type(self.x.dtype)

    @property
    def block(self) -> str:
        return f"({self.config.pixels}, {self.config.channels})"


class CudaPool:
    """max_pool with or without positions, average_pool and lp_pool."""

    name = "cuda.pool"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """Blocks by predicted time.

        Raises:
            NoTactic: another op, or more than three spatial axes.
        """
        op, x, placed = pool_of(work)
        finish_of(work)
        return ranked_blocks(self.name, work, _shape(op, x, placed, work), x.shape[1], isa, effort)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """One kernel."""
        op, x, placed = pool_of(work)
        parts, words, config = ImageParts(), Words(), tactic.config
        shape = _shape(op, x, placed, work)
        kernel = _Kernel(work, op, x, placed, shape, config, words)
        words.pointer("x", x.dtype, Input(0))
        windows, addresses, fold = Lines(1), Lines(2), Lines(2)
        firsts = emit_firsts(windows, words, shape, config.pixels)
        taps = tap_digits(addresses, "tap", shape.kernel)
        at, conditions, indices = emit_tap(addresses, words, shape, firsts, taps, x.count)
        columns = inside(x.shape[1], config.channels, "n", words)
        lies = [f"{c}[:, None]" for c in conditions]
        mask = masked(*lies, columns and f"{columns}[None, :]", other=_neutral(op, x.dtype))
        channel = f"({in_reach('n', x.count)} * {words.size(shape.x_strides[1])})[None, :]"
        begin = _emit_fold(fold, kernel, [" & ".join(lies)] if lies else [], indices)
        end = _end(kernel)
        tiles = ceil_div(x.shape[1], config.channels)
        text = _TEXT.format(
            tiles=words.size(tiles), channels=config.channels, pixels=config.pixels,
            windows=str(windows).rstrip(), begin=begin, taps=tap_range(shape.taps),
            addresses=str(addresses).rstrip(), a=held(f"tl.load(x + (({at})[:, None] + {channel}){mask})", x.dtype),
            fold=str(fold).rstrip(), end=end, parameters="PARAMETERS",
        ).replace("PARAMETERS", words.parameters)  # fmt: skip
        function = named("pool", text, words.arguments, warps=config.warps, stages=1, waits=True)
        grid = (tiles_of(shape.pixels, config.pixels) * tiles,)
        parts.add((function, Step(function.name, words.words, grid=grid)))
        return parts.image()


def _shape(op: Pool, x: TensorType, placed: tuple[Window, ...], work: Workload) -> ConvShape:
    axes = x.rank - 2
    if axes > AXES:
        raise NoTactic(f"kernels for {axes} spatial axes do not exist; 1, 2 and 3 do")
    y = work.outputs[0]
    return ConvShape(
        batch=x.shape[0], groups=1, channels=1, outputs=x.shape[1],  # type: ignore[arg-type]
        size=leading(x.shape[2:], 1), out=leading(y.shape[2:], 1), kernel=leading(op.kernel, 1),
        strides=leading(per_axis(op.strides, axes, "strides"), 1),
        steps=leading(per_axis(op.dilations, axes, "dilations"), 1),
        before=leading([p.pad_before for p in placed], 0), x_strides=spread(x), y_strides=spread(y),
    )  # fmt: skip


def _neutral(op: Pool, dtype: DType) -> str:
    """What an element outside of x is."""
    if not isinstance(op, MaxPool):
        return "0"
    if dtype.is_float:
        return "float('-inf')"
    return str(-(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0)


def _emit_fold(lines: Lines, kernel: _Kernel, lies: list[str], indices: list[str]) -> str:
    """What is done with element `a` of each tap; returns what comes before the first."""
    op, block = kernel.op, kernel.block
    zeros = f"tl.zeros({block}, {kernel.held})"
    if isinstance(op, LpPool):
        power = {1: "tl.abs(a)", 2: "a * a"}.get(op.p) or f"libdevice.pow(tl.abs(a), {_full(op.p, kernel)})"  # type: ignore[call-overload]
        lines.line(f"value += {power}")
        return f"    value = {zeros}"
    if isinstance(op, AveragePool):
        lines.line("value += a")
        counted = _emit_count(lines, kernel, indices)
        return f"    value = {zeros}" + ("\n    count = m * 0" if counted else "")
    start = f"    value = tl.full({block}, {_neutral(op, kernel.x.dtype)}, {kernel.held})"
    if op.indices:
        is_real = f"({lies[0]})" if lies else "(m == m)[:, None]"
        nan = " | ((a != a) & (value == value))" if kernel.x.dtype.is_float else ""
        taken = lines.let(f"{is_real} & ((found < 0) | (a > value){nan})", "taken")
        place = lines.let(_position(kernel, indices), "place")
        lines.line(f"found = tl.where({taken}, {place}[:, None], found)")
        lines.line(f"value = tl.where({taken}, a, value)")
        return f"{start}\n    found = tl.full({block}, -1, tl.int64)"
    nan = ", propagate_nan=tl.PropagateNan.ALL" if kernel.x.dtype.is_float else ""
    lines.line(f"value = tl.maximum(value, a{nan})")
    return start


def _full(value: float, kernel: _Kernel) -> str:
    return f"tl.zeros({kernel.block}, {kernel.held}) + {constant(value, kernel.x.dtype)}"


def _position(kernel: _Kernel, indices: list[str]) -> str:
    """Of an element in its channel's plane."""
    assert isinstance(kernel.op, MaxPool), "only maxima have positions"
    text = "0"
    for a in range(AXES) if kernel.op.storage_order == 0 else reversed(range(AXES)):
        extent = kernel.words.size(kernel.shape.size[a])
        text = f"({text} * {extent} + {indices[a]})" if text != "0" else indices[a]
    return f"({text}).to(tl.int64)"


def _emit_count(lines: Lines, kernel: _Kernel, indices: list[str]) -> bool:
    """`count`, where windows do not all have the same number of elements; False where they have."""
    op, words, shape = kernel.op, kernel.words, kernel.shape
    assert isinstance(op, AveragePool), "only means count"
    conditions = []
    missing = AXES - len(kernel.placed)
    for a in range(missing, AXES):
        window = kernel.placed[a - missing]
        if not shape.may_leave(a):
            continue
        low, high = "0", words.size(shape.size[a])
        if op.count_include_pad:
            if kernel.op.auto_pad == "NOTSET" and not op.ceil_mode:
                continue
            low = f"(0 - {words.size(window.pad_before)})"
            high = words.size(shape.size[a] + window.pad_after)
        conditions.append(f"({indices[a]} >= {low}) & ({indices[a]} < {high})")
    if not conditions:
        return False
    lines.line(f"count += ({' & '.join(conditions)}).to(tl.int32)")
    return True


def _end(kernel: _Kernel) -> str:
    """What follows the loop: the mean or root, and the store of values and positions."""
    op, shape, end = kernel.op, kernel.shape, Ending(kernel.work, kernel.shape, kernel.words)
    lines = end.lines
    if isinstance(op, AveragePool):
        counted = _emit_count(Lines(), kernel, ["0"] * AXES)
        number = f"count.to({kernel.held})[:, None]" if counted else constant(shape.taps, kernel.x.dtype)
        lines.line(f"value = value / {number}")
    if isinstance(op, LpPool) and op.p == 2:
        lines.line("value = tl.sqrt(value)")
    elif isinstance(op, LpPool) and op.p != 1:
        lines.line(f"value = libdevice.pow(value, {_full(1 / op.p, kernel)})")
    block = Block("m", "n", "0", kernel.config.pixels, kernel.config.channels)
    emit_results(end, block, "value")
    if isinstance(op, MaxPool) and op.indices:
        words, sizes = kernel.words, kernel.shape.size
        image = lines.let(f"m // {words.size(product(shape.out))}", "image")
        plane = f"({image}.to(tl.int64) * {words.size(kernel.x.shape[1])})[:, None] + n[None, :]"
        lines.line(f"found += ({plane}) * {words.size(product(sizes))}")
        second = replace(shape, y_strides=spread(kernel.work.outputs[1]))
        emit_results(Ending(kernel.work, second, words, lines), block, "found", 1, epilogue=False)
    return str(lines).rstrip()


PROVIDERS = (CudaPool(),)
