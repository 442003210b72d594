"""What all convolution kernels share: the problem's geometry, argument words, packed filters, epilogue operands."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.tile import CACHE_LINE, Store, TileOperand, by_columns, store_tile
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import Scalar, argument, substitute
from engineworks.kernels.tactic import Input, Packed, PackedConstant, Step, Word, Workspace
from engineworks.kernels.tactic import Size as SizeWord
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops._windows import per_axis, place_all
from engineworks.ops.conv import Conv

Three = tuple[int, ...]
"""One number for each of (depth, row, column)."""
ThreeDims = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution with its spatial axes brought to three (missing leading ones have size 1).

    Attributes:
        size, out: input and output sizes; before, after: padding.
        x_strides, y_strides: elements between neighbours along (image, depth, row, pixel); channels have stride 1.
        x_first, y_first: elements from the buffers' starts to the first window (padding not counted) and output.
    """

    batch: Dim
    groups: int
    channels: int
    outputs: int
    size: ThreeDims
    out: ThreeDims
    kernel: Three
    strides: Three
    dilations: Three
    before: ThreeDims
    after: ThreeDims
    x_strides: tuple[Dim, ...]
    y_strides: tuple[Dim, ...]
    x_first: Dim = 0
    y_first: Dim = 0

    @property
    def group_channels(self) -> int:
        return self.channels // self.groups

    @property
    def group_outputs(self) -> int:
        return self.outputs // self.groups

    @property
    def depth(self) -> int:
        """Multiply-adds of one output element: the length of the k loop."""
        return self.group_channels * self.kernel[0] * self.kernel[1] * self.kernel[2]

    @property
    def is_static(self) -> bool:
        """Everything but the number of images is known."""
        return all(
            isinstance(d, int)
            for d in (*self.size, *self.out, *self.before, *self.after, *self.x_strides, *self.y_strides)
        )

    @property
    def has_padding(self) -> bool:
        """Some tap of some window may lie outside of the input."""
        reach = [
            (self.out[a] - 1) * self.strides[a] + (self.kernel[a] - 1) * self.dilations[a] + 1
            for a in range(3)
        ]
        return any(self.before[a] != 0 for a in range(3)) or any(
            not isinstance(self.after[a], int)
            or (self.after[a] != 0 and not _at_most(reach[a], self.size[a]))
            for a in range(3)
        )

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 kernel with stride 1 over dense pixels: a matrix product of all pixels at once."""
        plain = self.kernel == (1, 1, 1) and self.strides == (1, 1, 1) and not self.has_padding
        return plain and _dense(self.x_strides, self.size) and _dense(self.y_strides, self.out)


def _at_most(a: Dim, b: Dim) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a <= b


def _dense(strides: Sequence[Dim], size: Sequence[Dim]) -> bool:
    """Pixels follow each other with one stride, through rows, depths and images."""
    step = strides[3]
    return all(strides[k] == step * _product(size[k:]) for k in range(3))


def _product(dims: Sequence[Dim]) -> Dim:
    out: Dim = 1
    for d in dims:
        out = out * d
    return out


def pixel_strides(kind: TensorType) -> tuple[Dim, ...] | None:
    """Strides along (image, depth, row, pixel) of an [N, C, spatial…] tensor; None where channels are not innermost."""
    strides = kind.strides()
    if strides[1] != 1 and kind.shape[1] != 1:
        return None
    spatial = strides[2:]
    while len(spatial) < 3:
        spatial = (spatial[0] * kind.shape[-len(spatial)], *spatial)
    return (strides[0], *spatial)


def geometry_of(work: Workload) -> Geometry:
    """The geometry of a conv workload whose output has its channels innermost.

    `x_strides` are those of x where its channels are innermost, else those of a dense channels-last copy.

    Raises:
        NoTactic: not a conv, more than three spatial axes, or an output laid out otherwise.
    """
    if not isinstance(work.anchor, Conv):
        raise NoTactic(f"{work.anchor} is not a convolution")
    x, w, y = input_type(work, 0), input_type(work, 1), work.outputs[0]
    axes = x.rank - 2
    if axes > 3:
        raise NoTactic(f"kernels for {axes} spatial axes do not exist; 1, 2 and 3 do")
    y_strides = pixel_strides(y)
    if y_strides is None:
        raise NoTactic(f"the output {y} does not have its channels innermost in memory")
    op, kernel = work.anchor, tuple(known(k) for k in w.shape[2:])
    placed = place_all(op, x.shape[2:], kernel)
    missing = 3 - axes
    size, out = (1,) * missing + x.shape[2:], (1,) * missing + y.shape[2:]
    x_strides = pixel_strides(x) or dense_strides(size, known(x.shape[1]))
    return Geometry(
        batch=x.shape[0], groups=op.groups, channels=known(x.shape[1]), outputs=known(w.shape[0]), size=size, out=out,
        kernel=(1,) * missing + kernel,
        strides=(1,) * missing + per_axis(op.strides, axes, "strides"),
        dilations=(1,) * missing + per_axis(op.dilations, axes, "dilations"),
        before=(0,) * missing + tuple(p.pad_before for p in placed),
        after=(0,) * missing + tuple(p.pad_after for p in placed),
        x_strides=x_strides, y_strides=y_strides,
    )  # fmt: skip


def known(size: Dim | str) -> int:
    """A size that is a number where this is asked."""
    assert isinstance(size, int), f"{size} is not known when the engine is built"
    return size


def dense_strides(size: Sequence[Dim], channels: int) -> tuple[Dim, ...]:
    """Strides of a channels-last buffer whose pixels do not lie a multiple of 1 KiB apart: those share a cache set."""
    pixel: Dim = channels + 16 if channels % 256 == 0 else channels
    row = pixel * size[2]
    return (row * size[1] * size[0], row * size[1], row, pixel)


def padded(g: Geometry) -> Geometry:
    """The same convolution over a channels-last copy of x that holds its padding."""
    size = tuple(g.before[a] + g.size[a] + g.after[a] for a in range(3))
    return replace(g, size=size, before=(0, 0, 0), after=(0, 0, 0), x_strides=dense_strides(size, g.channels))


def input_type(work: Workload, index: int) -> TensorType:
    """Type of an input that must be there."""
    operand = work.inputs[index]
    assert operand is not None, f"input {index} of {work.anchor} is missing"
    return operand.type


def require_f32(work: Workload) -> None:
    """Raises NoTactic unless there is an anchor that computes in f32."""
    if work.anchor is None:
        raise NoTactic("a loop nest has no anchor")
    if any(o is not None and o.type.dtype is not dtypes.f32 for o in work.inputs[: work.anchor_inputs]):
        raise NoTactic(f"this family computes in f32; {work.anchor} has {input_type(work, 0).dtype}")


# -- argument words -------------------------------------------------------------------------------------------
class Arguments:
    """Hands out a kernel's arguments while it is emitted, and remembers the words that the step must pass."""

    def __init__(self, f: Function) -> None:
        self.f = f
        self.words: list[Word] = []
        self._known: dict[Word, str] = {}

    def pointer(self, word: Word) -> str:
        """The address that `word` stands for."""
        if word not in self._known:
            self._known[word] = self.f.pointer(len(self.words))
            self.words.append(word)
        return self._known[word]

    def size(self, dim: Dim) -> Size:
        """The dim: an int where known, else a word read at run time. Call it outside of loops."""
        if isinstance(dim, int):
            return dim
        word = SizeWord(dim)
        if word not in self._known:
            self._known[word] = self.f.word(len(self.words))
            self.words.append(word)
        return self._known[word]

    def sizes(self, dims: Sequence[Dim]) -> tuple[Size, ...]:
        return tuple(self.size(d) for d in dims)


def finish(prefix: str, f: Function) -> tuple[str, str]:
    """(symbol, text) of a finished function; the symbol holds the hash of the text, so equal kernels are one."""
    text = f.text()
    symbol = f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return symbol, text.replace(f"@{f.name}(", f"@{symbol}(", 1)


@dataclass(slots=True)
class ImageParts:
    """An image while it is put together."""

    functions: dict[str, str] = field(default_factory=dict)
    declarations: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    packed: list[PackedConstant] = field(default_factory=list)
    workspace: list[Dim] = field(default_factory=list)
    scratch_bytes: int = 0

    def pack(self, make: Callable[[Mapping[int, np.ndarray]], np.ndarray]) -> Packed:
        """A constant made at build."""
        self.packed.append(PackedConstant(make))
        return Packed(len(self.packed) - 1)

    def buffer(self, size_bytes: Dim) -> Workspace:
        """A temporary buffer."""
        self.workspace.append(size_bytes)
        return Workspace(len(self.workspace) - 1)

    def step(self, prefix: str, f: Function, arguments: Arguments, tasks: Dim, chunk_hint: int = 0) -> None:
        """Launch the finished `f`."""
        symbol, text = finish(prefix, f)
        self.functions[symbol] = text
        self.declarations |= f.declarations
        self.steps.append(Step(symbol, tuple(arguments.words), tasks, chunk_hint=chunk_hint))


# -- epilogue -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Finish:
    """What happens to a sum: `expression` over argument(0) and the operands (inputs of the workload by index)."""

    expression: Scalar | None
    operands: tuple[tuple[int, str, Operand], ...]


def finish_of(work: Workload) -> Finish:
    """The epilogue with the bias (anchor input 2) as one more 'channel' operand.

    Raises:
        NoTactic: a 'full' operand does not lie like the output.
    """
    epilogue = work.epilogue or Epilogue(argument(0, work.outputs[0].dtype))
    given = [(work.anchor_inputs + k, kind) for k, kind in enumerate(epilogue.kinds)]
    expression = epilogue.expression
    if work.anchor_inputs > 2 and work.inputs[2] is not None:
        sum_type = input_type(work, 0).dtype
        total, bias = argument(0, sum_type), argument(1 + len(given), sum_type)
        expression = substitute(expression, lambda node: total + bias if node is total else None)
        given.append((2, "channel"))
    operands = []
    for index, kind in given:
        operand = work.inputs[index]
        assert operand is not None, f"epilogue operand {index} is missing"
        if kind == "full" and operand.type.strides() != work.outputs[0].strides():
            raise NoTactic(
                f"epilogue operand {operand.type} does not lie in memory like the output {work.outputs[0]}"
            )
        operands.append((index, kind, operand))
    plain = expression is argument(0, work.outputs[0].dtype)
    return Finish(None if plain else expression, tuple(operands))


def tile_operands(
    f: Function, arguments: Mapping[int, str], end: Finish, element: Size, channel: Size
) -> tuple[TileOperand, ...]:
    """The epilogue's operands under the tile whose first output is `element`, in channel `channel`."""
    out = []
    for index, kind, operand in end.operands:
        size = operand.type.dtype.size_bytes
        shift = {"full": element, "channel": channel, "scalar": 0}[kind]
        out.append(TileOperand(kind, operand.type.dtype, f.at(arguments[index], f.mul(shift, size))))  # type: ignore[arg-type]
    return tuple(out)


def store_sums(
    f: Function,
    isa: Isa,
    sums: Sequence[Sequence[str]],
    y: str,
    operands: dict[int, str],
    end: Finish,
    work: Workload,
    rows: Sequence[Size],
    element: Size,
    channel: Size,
    columns: tuple[Size, int],
) -> None:
    """Epilogue and store of a tile whose first output is `element` of y; columns: (left from here on, in all)."""
    dtype = work.outputs[0].dtype
    pointer = f.at(y, f.mul(element, dtype.size_bytes))
    given = tile_operands(f, operands, end, element, channel)

    def emit(count: Size | None) -> None:
        store_tile(f, isa, sums, Store(pointer, tuple(rows), dtype, count, end.expression, given))

    by_columns(f, len(sums[0]) * isa.lanes, columns[0], columns[1], emit)


def fetch_operands(
    f: Function, operands: Mapping[int, str], end: Finish, rows: Sequence[Size], element: Size, width: int
) -> None:
    """Ask for a tile's elements of 'full' operands before its sums are made: the hardware does not guess its rows."""
    for index, kind, operand in end.operands:
        if kind != "full":
            continue
        size = operand.type.dtype.size_bytes
        base = f.at(operands[index], f.mul(element, size))
        for row in rows:
            for byte in range(0, width * size, CACHE_LINE):
                at = f.at(base, f.add(f.mul(row, size), byte))
                f.call("void", "llvm.prefetch.p0", f"ptr {at}", "i32 0", "i32 3", "i32 1")


# -- filters --------------------------------------------------------------------------------------------------
def pack_filters(w: np.ndarray, groups: int, width: int) -> np.ndarray:
    """[O, C/groups, kernel…] to [groups, panels, kernel… x C/groups, width], zeros beyond the last output."""
    outputs, channels = w.shape[0] // groups, w.shape[1]
    panels = -(-outputs // width)
    rows = np.moveaxis(w.reshape(groups, outputs, channels, -1), 1, -1).swapaxes(1, 2)  # g, tap, c, o
    out = np.zeros((groups, panels * width, rows.shape[1] * channels), np.float32)
    out[:, :outputs] = rows.reshape(groups, -1, outputs).swapaxes(1, 2)
    return np.ascontiguousarray(out.reshape(groups, panels, width, -1).swapaxes(2, 3))


def filters_word(parts: ImageParts, work: Workload, g: Geometry, width: int) -> Word:
    """Where the packed filters are: packed at build when they are constant, else by a step of the image."""
    operand = work.inputs[1]
    assert operand is not None, "conv has no filters"
    if operand.constant:
        return parts.pack(lambda values: pack_filters(np.asarray(values[1]), g.groups, width))
    if not (operand.type.layout is None or operand.type.layout.is_row_major):
        raise NoTactic(f"filters that are computed at run time must be row-major; got {operand.type}")
    panels = -(-g.group_outputs // width)
    target = parts.buffer(g.groups * panels * g.depth * width * 4)
    _pack_step(parts, g, width, panels, target)
    return target


def _pack_step(parts: ImageParts, g: Geometry, width: int, panels: int, target: Word) -> None:
    """One task is one (group, panel): gather [tap, channel, output] from row-major filters."""
    f = Function("pack_filters")
    arguments = Arguments(f)
    source, panel_base = arguments.pointer(Input(1)), arguments.pointer(target)
    window = g.kernel[0] * g.kernel[1] * g.kernel[2]
    with f.loop("%lo", "%hi") as panel:
        group, within = f.udiv(panel, panels), f.urem(panel, panels)
        with f.loop(0, width) as lane:
            output = f.add(f.mul(within, width), lane)
            here = f.at(panel_base, f.add(f.mul(f.mul(panel, g.depth), width), lane), "float")
            first = f.at(source, f.mul(f.add(f.mul(group, g.group_outputs), output), g.depth), "float")

            def copy(here: str = here, first: str = first) -> None:
                with f.loop(0, window) as tap, f.loop(0, g.group_channels) as channel:
                    value = f.value(
                        f"load float, ptr {f.at(first, f.add(f.mul(channel, window), tap), 'float')}"
                    )
                    row = f.add(f.mul(tap, g.group_channels), channel)
                    f.line(f"store float {value}, ptr {f.at(here, f.mul(row, width), 'float')}")

            def clear(here: str = here) -> None:
                with f.loop(0, g.depth) as row:
                    f.line(f"store float 0.0, ptr {f.at(here, f.mul(row, width), 'float')}")

            f.branch(f.compare("slt", output, g.group_outputs), copy, clear)
    parts.step("conv_pack", f, arguments, g.groups * panels)


# -- loops over tasks -----------------------------------------------------------------------------------------
@contextmanager
def ranges(f: Function, lo: Size, hi: Size, count: Dim, size: Size) -> Iterator[tuple[Size, Size, Size]]:
    """Split the flat range [lo, hi) over `count` parts of `size`: yields (part, first, end) within each part."""
    if count == 1:
        yield 0, lo, hi
        return
    with f.loop(f.udiv(lo, size), f.ceil_div(hi, size)) as part:
        start = f.mul(part, size)
        yield part, f.smax(f.sub(lo, start), 0), f.smin(f.sub(hi, start), size)


def valid_taps(f: Function, start: Size, size: Size, kernel: int, dilation: int) -> tuple[Size, Size]:
    """[first, end) of the taps at start + tap * dilation that lie in [0, size)."""
    first = f.udiv(f.add(f.smax(f.sub(0, start), 0), dilation - 1), dilation)
    room = f.smax(f.sub(size, start), 0)
    return f.smin(first, kernel), f.smin(f.udiv(f.add(room, dilation - 1), dilation), kernel)
