"""Packing the right operand of a product into panels [batch][panel][k][width], at build or by a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector, widened
from engineworks.codegen.llvm.vector import storage_kind
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
    panels, groups = -(-columns // form.width), form.groups(depth)
    assert isinstance(groups, int), "constants have known shapes"
    padded = np.zeros((*batch, groups * form.group, panels * form.width), right.dtype)
    padded[..., :depth, :columns] = right
    parts = padded.reshape(*batch, groups, form.group, panels, form.width)
    return np.ascontiguousarray(np.moveaxis(parts, (-2, -4, -1, -3), (-4, -3, -2, -1)))


@dataclass(frozen=True, slots=True)
class PackSource:
    """A matrix in memory, to be packed: strides count elements.

    `batches`: (size, stride) of the axes along which it differs, outermost first. `dtype`: of its elements.
    """

    word: Word
    depth: Dim
    columns: Dim
    depth_stride: Dim
    column_stride: Dim
    batches: tuple[tuple[Dim, Dim], ...] = ()
    dtype: DType = dtypes.f32


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


def emit_pack(source: PackSource, target: Word, form: int | PanelForm, isa: Isa) -> PackedPanels:
    """The kernel that packs `source` into panels at `target`; a task is one panel of one batch.

    Args:
        form: or a width, of f32 panels.
    """
    form = PanelForm(form) if isinstance(form, int) else form
    # Whole blocks of `lanes` k groups are written, so that transposing needs no masks.
    form = replace(form, multiple=max(form.multiple, isa.lanes))
    panels = ceil_div(source.columns, form.width)
    panel, size = form.panel(source.depth), form.dtype.size_bytes
    f = kernel_function()
    words = Words(f)
    packer = _Packer(
        f, isa, form, source, words, words.pointer(target), words.size(panel * size), words.size(panels)
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
        count * panel * size,
    )


class _Packer:
    """Emission state of one packing kernel."""

    def __init__(
        self,
        f: Function,
        isa: Isa,
        form: PanelForm,
        source: PackSource,
        words: Words,
        target: str,
        panel_bytes: Size,
        panels: Size,
    ) -> None:
        self.f, self.isa, self.form, self.target, self.dtype = f, isa, form, target, source.dtype
        self.panel_bytes, self.panels = panel_bytes, panels
        self.source = words.pointer(source.word)
        self.depth, self.columns = words.size(source.depth), words.size(source.columns)
        size = source.dtype.size_bytes
        self.depth_bytes, self.column_bytes = (
            words.size(source.depth_stride * size),
            words.size(source.column_stride * size),
        )
        self.batches = [(words.size(count), words.size(stride * size)) for count, stride in source.batches]

    def task(self, task: str) -> None:
        f, form = self.f, self.form
        panel = f.urem(task, self.panels)
        batch: Size = f.udiv(task, self.panels)
        offset: Size = 0
        for count, stride in reversed(self.batches):
            offset = f.add(offset, f.mul(f.urem(batch, count), stride))
            batch = f.udiv(batch, count)
        column = f.mul(panel, form.width)
        source = f.at(self.source, f.add(offset, f.mul(column, self.column_bytes)))
        target = f.at(self.target, f.mul(task, self.panel_bytes))
        left, row_bytes = f.sub(self.columns, column), form.width * form.group * form.dtype.size_bytes
        given = Panel(
            source, target, form.width, self.depth, left, self.depth_bytes, self.column_bytes, row_bytes,
            self.dtype, form,
        )  # fmt: skip
        pack_panel(f, self.isa, given)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel [k groups rounded up to lanes][width][group] while it is packed.

    Attributes:
        source, target: addresses of the first elements.
        depth: k rows.
        columns: of the source from here on, at least one; columns beyond them are filled with anything finite that
            the source holds, or left as they were.
        depth_bytes, column_bytes: between neighbours in the source.
        row_bytes: from one k group of the target to the next.
        dtype: of the source.
        form: of the target; None: f32 without groups.
    """

    source: str
    target: str
    width: int
    depth: Size
    columns: Size
    depth_bytes: Size
    column_bytes: Size
    row_bytes: int
    dtype: DType = dtypes.f32
    form: PanelForm | None = None

    @property
    def out(self) -> PanelForm:
        return self.form or PanelForm(self.width)


def pack_panel(f: Function, isa: Isa, panel: Panel) -> None:
    """Emit code that packs the panel. k groups that the depth does not fill end with zeros, as do forms that ask for
    a multiple of groups.
    """
    size = panel.dtype.size_bytes
    if panel.column_bytes == size:
        _pack_rows(f, isa, panel)
    elif panel.depth_bytes == size:
        _pack_transposed(f, isa, panel)
    else:
        _clear(f, isa, panel, 0)
        _pack_elements(f, isa, panel, 0)


def _pack_rows(f: Function, isa: Isa, p: Panel) -> None:
    """Columns are contiguous: copy vectors, those of a group interleaved."""
    form = p.out
    vectors = p.width // isa.lanes
    masks = [iota_below(f, isa.lanes, f.sub(p.columns, j * isa.lanes)) for j in range(vectors)]
    group, size = form.group, form.dtype.size_bytes

    def some(number: Size, rows: int) -> None:
        row = f.at(p.source, f.mul(f.mul(number, group), p.depth_bytes))
        out = f.at(p.target, f.mul(number, p.row_bytes))
        for j in range(vectors):
            parts = [
                _converted(
                    f,
                    isa.lanes,
                    p,
                    f.at(f.at(row, f.mul(r, p.depth_bytes)), j * isa.lanes * p.dtype.size_bytes),
                    masks[j],
                )
                for r in range(rows)
            ]
            parts += ["zeroinitializer"] * (group - rows)
            value = _interleaved(f, isa.lanes, storage_kind(form.dtype), parts)
            at = f.at(out, j * isa.lanes * group * size)
            f.line(
                f"store <{isa.lanes * group} x {storage_kind(form.dtype)}> {value}, ptr {at}, align {size}"
            )

    whole = f.udiv(p.depth, group)
    with f.loop(0, whole) as number:
        some(number, group)
    if group == 1:
        return
    _clear(f, isa, p, whole)
    rest = f.sub(p.depth, f.mul(whole, group))
    for rows in range(1, group):
        if isinstance(rest, str):
            with f.when(f.compare("eq", rest, rows)):
                some(whole, rows)
        elif rest == rows:
            some(whole, rows)


def _pack_transposed(f: Function, isa: Isa, p: Panel) -> None:
    """k is contiguous: transpose squares of lanes x lanes groups. Columns beyond the matrix read its last one again."""
    form, lanes = p.out, isa.lanes
    together = lanes * form.group
    last = f.sub(p.columns, 1)
    offsets = [f.mul(f.smin(c, last), p.column_bytes) for c in range(p.width)]

    def square(number: Size, k: Size, mask: str | None) -> None:
        for j in range(0, p.width, lanes):
            here = f.at(p.source, f.mul(k, p.dtype.size_bytes))
            rows = [_converted(f, together, p, f.at(here, offset), mask) for offset in offsets[j : j + lanes]]
            if form.dtype is not dtypes.f32:
                kind = f"<{together} x {storage_kind(form.dtype)}>"
                rows = [f.value(f"bitcast {kind} {row} to <{lanes} x float>") for row in rows]
            out = f.at(p.target, f.add(f.mul(number, p.row_bytes), j * 4))
            for i, value in enumerate(transposed(f, lanes, rows)):
                store_vector(f, lanes, dtypes.f32, f.at(out, i * p.row_bytes), value)

    if form.group == 1:
        with f.loop(0, p.depth, lanes) as k:
            whole = isinstance(p.depth, int) and p.depth % lanes == 0
            square(k, k, None if whole else iota_below(f, lanes, f.sub(p.depth, k)))
        return
    blocks = f.udiv(p.depth, together)
    with f.loop(0, blocks) as block:
        square(f.mul(block, lanes), f.mul(block, together), None)
    _clear(f, isa, p, f.mul(blocks, lanes))
    _pack_elements(f, isa, p, f.mul(blocks, together))


def _pack_elements(f: Function, isa: Isa, p: Panel, first: Size) -> None:
    """Element by element from k row `first` on: nothing is contiguous, or too little is left."""
    form = p.out
    count, size = f.smin(p.columns, p.width), form.dtype.size_bytes
    with f.loop(first, p.depth) as k:
        row = f.at(p.source, f.mul(k, p.depth_bytes))
        number, within = f.udiv(k, form.group), f.urem(k, form.group)
        out = f.at(p.target, f.add(f.mul(number, p.row_bytes), f.mul(within, size)))
        with f.loop(0, count) as c:
            value = _converted(f, 1, p, f.at(row, f.mul(c, p.column_bytes)), None)
            at = f.at(out, f.mul(c, form.group * size))
            f.line(f"store <1 x {storage_kind(form.dtype)}> {value}, ptr {at}, align {size}")


def _clear(f: Function, isa: Isa, p: Panel, first: Size) -> None:
    """Zeros from k group `first` to the end of the panel, where the form has groups to fill up."""
    form = p.out
    if form.group == 1:
        return
    groups = f.mul(f.ceil_div(p.depth, form.group * form.multiple), form.multiple)
    with f.loop(first, groups) as number:
        for j in range(0, p.width, isa.lanes):
            at = f.at(p.target, f.add(f.mul(number, p.row_bytes), j * 4))
            f.line(f"store <{isa.lanes} x float> zeroinitializer, ptr {at}, align 4")


def _converted(f: Function, lanes: int, p: Panel, pointer: str, mask: str | None) -> str:
    """`lanes` elements of the source as the panels hold them."""
    return widened(f, lanes, p.dtype, p.out.dtype, load_vector(f, lanes, p.dtype, pointer, mask))


def _interleaved(f: Function, lanes: int, kind: str, parts: Sequence[str]) -> str:
    """Element c of each part in turn, for c = 0, 1, …: one, two or four vectors."""
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        order = [k // 2 + (k % 2) * lanes for k in range(2 * lanes)]
        vector = f"<{lanes} x {kind}>"
        return f.value(f"shufflevector {vector} {parts[0]}, {vector} {parts[1]}, {_indices(order)}")
    even, odd = (_interleaved(f, lanes, kind, parts[k::2]) for k in (0, 1))
    return _interleaved(f, 2 * lanes, kind, [even, odd])


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
