"""Packing the right operand of a product into panels [batch][panel][k][width], at build or by a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import PackedConstant, Step, Word


@dataclass(frozen=True, slots=True)
class PanelForm:
    """How a matrix lies in panels: [panel][k / group][width][group].

    Attributes:
        width: columns of a panel.
        dtype: of the elements in the panels.
        group: neighbouring k of a column that lie together, as many as the instruction multiplies and adds at once.
        multiple: k groups are filled up with zeros to a multiple of so many.
    """

    width: int
    dtype: DType = dtypes.f32
    group: int = 1
    multiple: int = 1

    def groups(self, depth: Dim) -> Dim:
        """k groups of a panel."""
        return ceil_div(depth, self.group * self.multiple) * self.multiple

    def panel(self, depth: Dim) -> Dim:
        """Elements of a panel."""
        return self.groups(depth) * (self.width * self.group)


def packed_constant(index: int, width: int | PanelForm, *, transposed: bool = False) -> PackedConstant:
    """Panels of constant input `index`, logically [..., K, N], or [..., N, K] when `transposed`."""
    form = PanelForm(width) if isinstance(width, int) else width
    return PackedConstant(partial(_pack_input, index=index, form=form, transposed=transposed))


def _pack_input(
    arrays: Mapping[int, np.ndarray], *, index: int, form: PanelForm, transposed: bool
) -> np.ndarray:
    right = np.asarray(arrays[index]).astype(form.dtype.numpy, copy=False)
    return pack_panels(right.swapaxes(-1, -2) if transposed else right, form)


def pack_panels(right: np.ndarray, form: PanelForm) -> np.ndarray:
    """[..., K, N] -> [..., panels, K / group, width, group], filled with zeros."""
    *batch, depth, columns = right.shape
    panels, groups = -(-columns // form.width), int(form.groups(depth))
    padded = np.zeros((*batch, groups * form.group, panels * form.width), right.dtype)
    padded[..., :depth, :columns] = right
    parts = padded.reshape(*batch, groups, form.group, panels, form.width)
    return np.ascontiguousarray(np.moveaxis(parts, (-2, -4, -1, -3), (-4, -3, -2, -1)))


@dataclass(frozen=True, slots=True)
class PackSource:
    """A matrix in memory, to be packed: strides count elements.

    `batches`: (size, stride) of the axes along which it differs, outermost first.
    """

    word: Word
    depth: Dim
    columns: Dim
    depth_stride: Dim
    column_stride: Dim
    batches: tuple[tuple[Dim, Dim], ...] = ()


@dataclass(frozen=True, slots=True)
class PackedPanels:
    """What a packing step makes: `panel` elements from one panel to the next, `matrix` from one batch to the next,
    `size_bytes` in all.
    """

    step: Step
    symbol: str
    text: str
    declarations: frozenset[str]
    panel: Dim
    matrix: Dim
    size_bytes: Dim


def emit_pack(source: PackSource, target: Word, width: int, isa: Isa) -> PackedPanels:
    """The kernel that packs `source` into f32 panels at `target`; a task is one panel of one batch."""
    panels = ceil_div(source.columns, width)
    # Whole blocks of `lanes` k rows are written, so that transposing needs no masks.
    panel = ceil_div(source.depth, isa.lanes) * isa.lanes * width
    f = kernel_function()
    words = Words(f)
    packer = _Packer(
        f, isa, width, source, words, words.pointer(target), words.size(panel * 4), words.size(panels)
    )
    with f.loop("%lo", "%hi") as task:
        packer.task(task)
    symbol, text = finish(f, "pack")
    count = product([size for size, _ in source.batches]) * panels
    return PackedPanels(
        Step(symbol, tuple(words.words), count),
        symbol,
        text,
        frozenset(f.declarations),
        panel,
        panel * panels,
        count * panel * 4,
    )


class _Packer:
    """Emission state of one packing kernel."""

    def __init__(
        self,
        f: Function,
        isa: Isa,
        width: int,
        source: PackSource,
        words: Words,
        target: str,
        panel_bytes: Size,
        panels: Size,
    ) -> None:
        self.f, self.isa, self.width, self.target = f, isa, width, target
        self.panel_bytes, self.panels = panel_bytes, panels
        self.source = words.pointer(source.word)
        self.depth, self.columns = words.size(source.depth), words.size(source.columns)
        self.depth_bytes, self.column_bytes = (
            words.size(source.depth_stride * 4),
            words.size(source.column_stride * 4),
        )
        self.batches = [(words.size(count), words.size(stride * 4)) for count, stride in source.batches]

    def task(self, task: str) -> None:
        f = self.f
        panel = f.urem(task, self.panels)
        batch: Size = f.udiv(task, self.panels)
        offset: Size = 0
        for count, stride in reversed(self.batches):
            offset = f.add(offset, f.mul(f.urem(batch, count), stride))
            batch = f.udiv(batch, count)
        column = f.mul(panel, self.width)
        source = f.at(self.source, f.add(offset, f.mul(column, self.column_bytes)))
        target = f.at(self.target, f.mul(task, self.panel_bytes))
        width, left = self.width, f.sub(self.columns, column)
        given = Panel(source, target, width, self.depth, left, self.depth_bytes, self.column_bytes, width * 4)
        pack_panel(f, self.isa, given)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel [depth rounded up to lanes][width] while it is packed.

    Attributes:
        source, target: addresses of the first elements.
        depth: k rows.
        columns: of the source from here on, at least one; columns beyond them are filled with anything finite that
            the source holds, or left as they were.
        depth_bytes, column_bytes: between neighbours in the source.
        row_bytes: from one k row of the target to the next.
    """

    source: str
    target: str
    width: int
    depth: Size
    columns: Size
    depth_bytes: Size
    column_bytes: Size
    row_bytes: int


def pack_panel(f: Function, isa: Isa, panel: Panel) -> None:
    """Emit code that packs the panel."""
    if panel.column_bytes == 4:
        _pack_rows(f, isa, panel)
    elif panel.depth_bytes == 4:
        _pack_transposed(f, isa, panel)
    else:
        _pack_elements(f, panel)


def _pack_rows(f: Function, isa: Isa, p: Panel) -> None:
    """Columns are contiguous: copy vectors."""
    vectors = p.width // isa.lanes
    masks = [iota_below(f, isa.lanes, f.sub(p.columns, j * isa.lanes)) for j in range(vectors)]
    with f.loop(0, p.depth) as k:
        row, out = f.at(p.source, f.mul(k, p.depth_bytes)), f.at(p.target, f.mul(k, p.row_bytes))
        for j in range(vectors):
            value = load_vector(f, isa.lanes, dtypes.f32, f.at(row, j * isa.lanes * 4), masks[j])
            store_vector(f, isa.lanes, dtypes.f32, f.at(out, j * isa.lanes * 4), value)


def _pack_transposed(f: Function, isa: Isa, p: Panel) -> None:
    """k is contiguous: transpose squares of lanes x lanes. Columns beyond the matrix read its last one again."""
    lanes = isa.lanes
    last = f.sub(p.columns, 1)
    offsets = [f.mul(f.smin(c, last), p.column_bytes) for c in range(p.width)]
    with f.loop(0, p.depth, lanes) as k:
        whole = isinstance(p.depth, int) and p.depth % lanes == 0
        mask = None if whole else iota_below(f, lanes, f.sub(p.depth, k))
        for j in range(0, p.width, lanes):
            here = f.at(p.source, f.mul(k, 4))
            rows = [
                load_vector(f, lanes, dtypes.f32, f.at(here, offset), mask)
                for offset in offsets[j : j + lanes]
            ]
            out = f.at(p.target, f.add(f.mul(k, p.row_bytes), j * 4))
            for i, value in enumerate(transposed(f, lanes, rows)):
                store_vector(f, lanes, dtypes.f32, f.at(out, i * p.row_bytes), value)


def _pack_elements(f: Function, p: Panel) -> None:
    """Nothing is contiguous: element by element."""
    count = f.smin(p.columns, p.width)
    with f.loop(0, p.depth) as k:
        row, out = f.at(p.source, f.mul(k, p.depth_bytes)), f.at(p.target, f.mul(k, p.row_bytes))
        with f.loop(0, count) as c:
            value = f.value(f"load float, ptr {f.at(row, f.mul(c, p.column_bytes))}, align 4")
            f.line(f"store float {value}, ptr {f.at(out, f.mul(c, 4))}, align 4")


def transposed(f: Function, lanes: int, rows: Sequence[str]) -> list[str]:
    """The transpose of `lanes` vectors of `lanes` floats: log2(lanes) rounds of exchanging halves, quarters, …"""
    vector = f"<{lanes} x float>"
    values = list(rows)
    step = lanes // 2
    while step:
        for i in range(lanes):
            if i & step:
                continue
            low = [k if not k & step else lanes + (k ^ step) for k in range(lanes)]
            high = [k | step if not k & step else lanes + k for k in range(lanes)]
            pair = f"{vector} {values[i]}, {vector} {values[i | step]}"
            values[i], values[i | step] = (
                f.value(f"shufflevector {pair}, {_indices(order)}") for order in (low, high)
            )
        step //= 2
    return values


def _indices(order: Sequence[int]) -> str:
    return f"<{len(order)} x i32> <" + ", ".join(f"i32 {k}" for k in order) + ">"


def emit_padded_copy(
    source: Word, target: Word, rows: Dim, depth: int, row_stride: Dim, padded_stride: int, isa: Isa
) -> tuple[str, str, frozenset[str], Step]:
    """(symbol, definition, declarations, launch) of a kernel that copies rows of `depth` floats to another stride."""
    f = kernel_function()
    words = Words(f)
    from_, to = words.pointer(source), words.pointer(target)
    stride_bytes = words.size(row_stride * 4)
    with f.loop("%lo", "%hi") as row:
        a, b = f.at(from_, f.mul(row, stride_bytes)), f.at(to, f.mul(row, padded_stride * 4))
        whole = depth // isa.lanes * isa.lanes
        with f.loop(0, whole, isa.lanes) as k:
            value = load_vector(f, isa.lanes, dtypes.f32, f.at(a, f.mul(k, 4)))
            store_vector(f, isa.lanes, dtypes.f32, f.at(b, f.mul(k, 4)), value)
        if depth > whole:
            mask = iota_below(f, isa.lanes, depth - whole)
            value = load_vector(f, isa.lanes, dtypes.f32, f.at(a, whole * 4), mask)
            store_vector(f, isa.lanes, dtypes.f32, f.at(b, whole * 4), value, mask)
    symbol, text = finish(f, "pad_rows")
    return symbol, text, frozenset(f.declarations), Step(symbol, tuple(words.words), rows)
