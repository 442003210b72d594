"""A step that copies a matrix row by row: to rows that lie well, without gaps along the depth, or of another dtype."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector, widened
from engineworks.core.dims import Dim, product
from engineworks.core.dtypes import DType
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import Step, Word


@dataclass(frozen=True, slots=True)
class RowSource:
    """A matrix in memory, read by rows: strides count elements.

    `batches`: (size, stride) of the axes along which it differs, outermost first.
    """

    word: Word
    rows: Dim
    depth: Dim
    row_stride: Dim
    depth_stride: Dim
    dtype: DType
    batches: tuple[tuple[Dim, Dim], ...] = ()


def emit_row_copy(
    source: RowSource, target: Word, dtype: DType, stride: Dim, isa: Isa
) -> tuple[str, str, frozenset[str], Step]:
    """(symbol, definition, declarations, launch) of a kernel that writes [batch][row][depth] of `dtype` with `stride`
    elements from row to row; what lies between is not written.
    """
    f = kernel_function()
    words = Words(f)
    base, to = words.pointer(source.word), words.pointer(target)
    size = source.dtype.size_bytes
    row_bytes, step_bytes = words.size(source.row_stride * size), words.size(source.depth_stride * size)
    batches = [(words.size(count), words.size(step * size)) for count, step in source.batches]
    rows, depth = words.size(source.rows), words.size(source.depth)
    stride_bytes = words.size(stride * dtype.size_bytes)

    def some(a: str, b: str, k: Size, lanes: int, mask: str | None) -> None:
        value = load_vector(f, lanes, source.dtype, f.at(a, f.mul(k, step_bytes)), mask)
        value = widened(f, lanes, source.dtype, dtype, value)
        store_vector(f, lanes, dtype, f.at(b, f.mul(k, dtype.size_bytes)), value, mask)

    with f.loop("%lo", "%hi") as task:
        offset = f.mul(f.urem(task, rows), row_bytes)
        batch: Size = f.udiv(task, rows) if batches else 0
        for count, step in reversed(batches):
            offset = f.add(offset, f.mul(f.urem(batch, count), step))
            batch = f.udiv(batch, count)
        a, b = f.at(base, offset), f.at(to, f.mul(task, stride_bytes))
        lanes = isa.lanes if step_bytes == size else 1
        whole = f.mul(f.udiv(depth, lanes), lanes)
        with f.loop(0, whole, lanes) as k:
            some(a, b, k, lanes, None)
        rest = f.sub(depth, whole)
        if lanes > 1 and rest != 0:
            some(a, b, whole, lanes, iota_below(f, lanes, rest))
    symbol, text = finish(f, "copy_rows")
    tasks = product([*(count for count, _ in source.batches), source.rows])
    return symbol, text, frozenset(f.declarations), Step(symbol, tuple(words.words), tasks)
