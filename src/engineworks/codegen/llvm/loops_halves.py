"""Reductions of few long rows in two launches: parts of each row to a workspace, then the parts to the result.

One row is one task; a global average or a sum over everything would keep all threads but one idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from engineworks.codegen.llvm.loops_reduce import identity
from engineworks.codegen.schedule import likely
from engineworks.core import dtypes
from engineworks.core.dims import ceil_div, known_equal, product
from engineworks.core.types import TensorType
from engineworks.ir.kernel import LoopKernel, Reduce, Store
from engineworks.ir.scalar import Scalar, apply, axis, cast, const, load, size, substitute, where

_PARTS = 32
_LEAST_ELEMENTS = 1 << 16
_MOST_ROWS = 8


def halves_of(kernel: LoopKernel) -> tuple[LoopKernel, LoopKernel] | None:
    """(parts, whole): the first reduces parts of rows to its only output, which is operand 0 of the second.

    None where the kernel is not one reduction with its writes, or has rows enough to keep all threads busy.
    """
    first, rest = kernel.stages[0], kernel.stages[1:]
    if not isinstance(first, Reduce) or first.monoid.startswith("arg") or any(_reads_rows(s) for s in rest):
        return None
    rows, count = (likely(product(d)) for d in (kernel.parallel, kernel.reduced))
    if rows > _MOST_ROWS or count < _LEAST_ELEMENTS // max(1, rows):
        return None
    kind = dtypes.f32 if first.dtype.is_float and first.dtype.bits < 32 else first.dtype
    partial = TensorType(kind, (_PARTS, *kernel.parallel))
    return _parts(kernel, first, partial), _whole(kernel, first, partial)


def _reads_rows(stage: Reduce | Store) -> bool:
    return isinstance(stage, Reduce) or stage.over_reduced


def _parts(kernel: LoopKernel, first: Reduce, partial: TensorType) -> LoopKernel:
    """The longest reduced axis is cut; the number of the part becomes the first parallel axis."""
    rank = len(kernel.parallel)
    longest = max(range(len(kernel.reduced)), key=lambda k: likely(kernel.reduced[k]))
    extent = kernel.reduced[longest]
    part_size = ceil_div(extent, _PARTS)
    place = axis(0) * size(part_size) + axis(1 + rank + longest)
    moved = {k: axis(k + 1) for k in range(rank + len(kernel.reduced))} | {rank + longest: place}
    body = cast(_with_axes(first.body, moved), partial.dtype)
    if known_equal(part_size * _PARTS, extent) is not True:
        nothing = const(identity(first.monoid, first.dtype), partial.dtype)
        body = where(apply("lt", place, size(extent)), body, nothing)
    reduced = tuple(part_size if k == longest else d for k, d in enumerate(kernel.reduced))
    stages = (
        Reduce(first.monoid, body, partial.dtype),
        Store(0, tuple(axis(k) for k in range(rank + 1)), Scalar.make("stage", (), partial.dtype, 0), False),
    )
    return LoopKernel((_PARTS, *kernel.parallel), reduced, kernel.operands, (partial,), stages)


def _whole(kernel: LoopKernel, first: Reduce, partial: TensorType) -> LoopKernel:
    rank = len(kernel.parallel)
    body = load(0, (axis(rank), *(axis(k) for k in range(rank))), partial.dtype)
    result = Scalar.make("stage", (), first.dtype, 0)
    combined = cast(Scalar.make("stage", (), partial.dtype, 0), first.dtype)

    def moved(expr: Scalar) -> Scalar:
        def replaced(node: Scalar) -> Scalar | None:
            if node is result:
                return combined
            return (
                Scalar.make("load", node.args, node.dtype, node.payload + 1) if node.head == "load" else None
            )

        return substitute(expr, replaced)

    stores = [
        replace(s, index=tuple(map(moved, s.index)), body=moved(s.body))
        for s in kernel.stages[1:]
        if isinstance(s, Store)
    ]
    stages = (Reduce(first.monoid, body, partial.dtype), *stores)
    return LoopKernel(kernel.parallel, (_PARTS,), (partial, *kernel.operands), kernel.outputs, stages)


def _with_axes(expr: Scalar, axes: Mapping[int, Scalar]) -> Scalar:
    return substitute(expr, lambda node: axes[node.payload] if node.head == "axis" else None)
