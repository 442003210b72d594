"""Few long rows in several launches: every launch shares each row among many programs.

Reductions leave partial results of every part in a workspace. The next launch combines them: one that walks the rows
again (softmax, group norm) by an expression over all parts, the last one of plain reductions by reducing the parts.
The order of sums depends on sizes alone, so results are the same from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from engineworks.codegen.llvm.loops_index import Linear, axis_term, linear_of
from engineworks.codegen.llvm.loops_nest import flat_offset
from engineworks.codegen.llvm.loops_reduce import identity
from engineworks.codegen.schedule import likely
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, known_equal, product
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.kernel import LoopKernel, Reduce, Store
from engineworks.ir.scalar import Scalar, apply, axis, cast, const, leaves_of, load, size, substitute, where

_LEAST_ELEMENTS = 2048
"""Of one part of a row."""
_COLUMNS = 64
"""Rows that one program reduces side by side where they are neighbours in memory."""
_MOST_COMBINED = 32
"""Parts that an expression combines."""
_MOST_REDUCED = 256
"""Parts that a launch of their own reduces."""
_COMBINE = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}


@dataclass(frozen=True, slots=True)
class Spread:
    """The sum of squares of what reduction `of` adds up, less `centre`, which is the same for a whole row.

    Each part takes the squares about its own mean, and what that mean is off is put right when parts are combined
    (Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979): the
    variance comes from the same walk as the mean, with no difference of large numbers.
    """

    of: int
    centre: Scalar


@dataclass(frozen=True, slots=True)
class Phases:
    """Launches in order; each takes the operands of the whole and the partial results of those before it.

    Attributes:
        partials: of all launches but the last, whose outputs are the whole's.
    """

    kernels: tuple[LoopKernel, ...]
    partials: tuple[TensorType, ...]


def phases_of(kernel: LoopKernel, processors: int) -> Phases | None:
    """The launches of a kernel with few long rows, for a GPU with so many processors; None where one launch will do."""
    kernel = _without_unit_axes(kernel)
    folds = [s for s in kernel.stages if isinstance(s, Reduce)]
    if not folds or any(f.monoid.startswith("arg") for f in folds):
        return None
    rows, count = (likely(product(d)) for d in (kernel.parallel, kernel.reduced))
    columns = _COLUMNS if _has_columns(kernel) else 1
    programs = max(1, rows // columns)
    wanted = min(2 * processors // programs, count * columns // _LEAST_ELEMENTS)
    if wanted < 2:
        return None
    again = _walks_again(kernel)
    cut = _outermost(kernel)
    parts = _parts(kernel.reduced[cut], min(wanted, _MOST_COMBINED if again else _MOST_REDUCED))
    return None if parts < 2 else _Split(kernel, cut, parts).phases(again)


def _without_unit_axes(kernel: LoopKernel) -> LoopKernel:
    """Axes of one position read as 0 everywhere, so that equal expressions are one."""
    zero = const(0, dtypes.i64)
    unit = {
        k: zero for k, d in enumerate((*kernel.parallel, *kernel.reduced)) if isinstance(d, int) and d == 1
    }

    def read(expr: Scalar) -> Scalar:
        return _substituted(expr, unit, {})

    stages = tuple(
        replace(s, body=read(s.body)) if isinstance(s, Reduce)
        else replace(s, index=tuple(map(read, s.index)), body=read(s.body))
        for s in kernel.stages
    )  # fmt: skip
    return replace(kernel, stages=stages)


def _walks_again(kernel: LoopKernel) -> bool:
    """True when stages read the whole rows after results of others."""
    return any(
        (isinstance(s, Store) and s.over_reduced) or (isinstance(s, Reduce) and leaves_of(s.body, "stage"))
        for s in kernel.stages
    )


def _has_columns(kernel: LoopKernel) -> bool:
    """True when neighbouring rows, not neighbours along a row, are neighbours in memory."""
    parallel = range(len(kernel.parallel))
    return any(
        kernel.parallel[a] != 1 and axis_term(form, a) == 1 for form in _forms(kernel) for a in parallel
    )


def _forms(kernel: LoopKernel) -> list[Linear]:
    """Offsets of what the reductions load."""
    loads = [n for s in kernel.stages if isinstance(s, Reduce) for n in leaves_of(s.body, "load")]
    return [linear_of(flat_offset(kernel.operands[n.payload], n.args)) for n in loads]


def _outermost(kernel: LoopKernel) -> int:
    """The reduced axis (its place) to cut: long, and the farthest apart in memory, so that parts are contiguous."""
    rank = len(kernel.parallel)
    forms = _forms(kernel)
    longest = max(likely(d) for d in kernel.reduced)

    def rank_of(place: int) -> tuple[bool, int]:
        steps = [abs(likely(axis_term(f, rank + place))) for f in forms if axis_term(f, rank + place) != 0]
        return likely(kernel.reduced[place]) * 4 >= longest, max(steps, default=0)

    return max(range(len(kernel.reduced)), key=rank_of)


def _parts(extent: Dim, wanted: int) -> int:
    """How many parts: a divisor of the axis where there is a good one."""
    if isinstance(extent, int):
        divisor = max(d for d in range(1, min(wanted, extent) + 1) if extent % d == 0)
        if 2 * divisor >= wanted:
            return divisor
    return min(wanted, max(1, likely(extent)))


class _Split:
    """One kernel cut into `parts` along reduced axis `cut`; the part's number becomes the first parallel axis."""

    def __init__(self, kernel: LoopKernel, cut: int, parts: int) -> None:
        self.kernel, self.cut, self.parts = kernel, cut, parts
        self.extent = kernel.reduced[cut]
        self.length = ceil_div(self.extent, parts)
        rank = len(kernel.parallel)
        self.is_even = known_equal(self.length * parts, self.extent) is True
        start, step = axis(0) * size(self.length), axis(1 + rank + cut)
        self.place = start + step
        self.axes = {k: axis(k + 1) for k in range(rank + len(kernel.reduced))} | {rank + cut: self.place}
        # Writes of the last part begin early enough to end with the row: some elements are written twice, alike.
        last = size(self.extent - self.length)
        self.within = self.axes | ({} if self.is_even else {rank + cut: apply("min", start, last) + step})
        self.reduced = tuple(self.length if k == cut else d for k, d in enumerate(kernel.reduced))
        self.partials: list[TensorType] = []
        self.combined: dict[int, int] = {}
        self.spreads: dict[int, Spread] = {}

    def phases(self, again: bool) -> Phases:
        kernels = []
        waiting = list(enumerate(self.kernel.stages))
        while folds := self._ready(waiting):
            folds += self._spread(folds, waiting)
            kernels.append(self._partial(folds))
            waiting = [pair for pair in waiting if pair not in folds]
        stores = [s for _, s in waiting if isinstance(s, Store)]
        kernels.append(self._writing(stores) if again else self._whole(stores))
        return Phases(tuple(kernels), tuple(self.partials))

    def _ready(self, waiting: Sequence[tuple[int, Reduce | Store]]) -> list[tuple[int, Reduce]]:
        """Reductions that need no results but those that there are."""
        return [
            (number, stage) for number, stage in waiting
            if isinstance(stage, Reduce)
            and all(s.payload in self.combined for s in leaves_of(stage.body, "stage"))
        ]  # fmt: skip

    def _spread(
        self, folds: Sequence[tuple[int, Reduce]], waiting: Sequence[tuple[int, Reduce | Store]]
    ) -> list[tuple[int, Reduce]]:
        """Sums of squares about a centre that the results of `folds` give; noted in `spreads`."""
        summed = {f.body: number for number, f in folds if f.monoid == "sum" and f.dtype.is_float}
        found: list[tuple[int, Reduce]] = []
        for number, stage in waiting:
            if not isinstance(stage, Reduce) or stage.monoid != "sum" or not self.is_even:
                continue
            square = stage.body
            off = square.args[0] if square.head == "mul" and square.args[0] is square.args[1] else None
            if off is None or off.head != "sub" or off.args[0] not in summed:
                continue
            of, centre = summed[off.args[0]], off.args[1]
            known = {of, *self.combined}
            if self._is_of_row(centre) and {s.payload for s in leaves_of(centre, "stage")} <= known:
                self.spreads[number] = Spread(of, centre)
                found.append((number, stage))
        return found

    def _is_of_row(self, expr: Scalar) -> bool:
        return all(a.payload < len(self.kernel.parallel) for a in leaves_of(expr, "axis"))

    def _count(self, dtype: DType) -> Scalar:
        """Positions of a part."""
        return cast(size(product(self.reduced)), dtype)

    def _operands(self) -> tuple[TensorType, ...]:
        return (*self.kernel.operands, *self.partials)

    def _partial(self, folds: Sequence[tuple[int, Reduce]]) -> LoopKernel:
        """Reduces parts; one output for each reduction."""
        operands, stages = self._operands(), []
        rows = tuple(axis(k) for k in range(len(self.kernel.parallel) + 1))
        made: list[TensorType] = []
        for number, fold in folds:
            kind = dtypes.f32 if fold.dtype.is_float and fold.dtype.bits < 32 else fold.dtype
            if number in self.spreads:
                of = [n for n, _ in folds].index(self.spreads[number].of)
                own_mean = Scalar.make("stage", (), made[of].dtype, of) / self._count(made[of].dtype)
                off = stages[of].body - own_mean
                body = cast(off * off, kind)
            else:
                body = cast(self._moved(fold.body, self.axes), kind)
            if not self.is_even:
                nothing = const(identity(fold.monoid, fold.dtype), kind)
                body = where(apply("lt", self.place, size(self.extent)), body, nothing)
            stages.append(Reduce(fold.monoid, body, kind))
            self.combined[number] = len(self.partials) + len(made)
            made.append(TensorType(kind, (self.parts, *self.kernel.parallel)))
        stores = [
            Store(k, rows, Scalar.make("stage", (), t.dtype, k), over_reduced=False)
            for k, t in enumerate(made)
        ]
        self.partials += made
        return LoopKernel(
            (self.parts, *self.kernel.parallel), self.reduced, operands, tuple(made), (*stages, *stores)
        )

    def _moved(self, expr: Scalar, axes: Mapping[int, Scalar]) -> Scalar:
        """Over the axes of a part, with the results so far as expressions over all parts."""
        return _substituted(expr, axes, {s: self._combination(s) for s in leaves_of(expr, "stage")})

    def _combination(self, result: Scalar) -> Scalar:
        loads = self._loads(result.payload)
        fold = self.kernel.stages[result.payload]
        assert isinstance(fold, Reduce), "only reductions have results"
        spread = self.spreads.get(result.payload)
        if spread is not None:
            kind = loads[0].dtype
            centre, count = cast(self._moved(spread.centre, self.axes), kind), self._count(kind)
            off = [total / count - centre for total in self._loads(spread.of)]
            loads = [load_ + o * o * count for load_, o in zip(loads, off, strict=True)]
        return cast(reduce(lambda a, b: apply(_COMBINE[fold.monoid], a, b), loads), result.dtype)

    def _loads(self, fold: int) -> list[Scalar]:
        """Every part's result of a reduction."""
        partial = self.combined[fold]
        rows = [axis(k + 1) for k in range(len(self.kernel.parallel))]
        number, dtype = len(self.kernel.operands) + partial, self.partials[partial].dtype
        return [load(number, (const(p, dtypes.i64), *rows), dtype) for p in range(self.parts)]

    def _writing(self, stores: Sequence[Store]) -> LoopKernel:
        """All writes, part by part; what is written once a row is written by each of its parts."""

        def moved(expr: Scalar) -> Scalar:
            return self._moved(expr, self.within)

        stages = tuple(replace(s, index=tuple(map(moved, s.index)), body=moved(s.body)) for s in stores)
        return LoopKernel(
            (self.parts, *self.kernel.parallel), self.reduced, self._operands(), self.kernel.outputs, stages
        )

    def _whole(self, stores: Sequence[Store]) -> LoopKernel:
        """Reduces the parts, and writes."""
        rank = len(self.kernel.parallel)
        index = (axis(rank), *(axis(k) for k in range(rank)))
        stages: list[Reduce] = []
        results: dict[Scalar, Scalar] = {}
        for number, partial in self.combined.items():
            fold, type_ = self.kernel.stages[number], self.partials[partial]
            assert isinstance(fold, Reduce), "only reductions have results"
            stages.append(
                Reduce(
                    fold.monoid, load(len(self.kernel.operands) + partial, index, type_.dtype), type_.dtype
                )
            )
            result = Scalar.make("stage", (), type_.dtype, len(stages) - 1)
            results[Scalar.make("stage", (), fold.dtype, number)] = cast(result, fold.dtype)
        moved = [
            replace(
                s,
                index=tuple(_substituted(i, {}, results) for i in s.index),
                body=_substituted(s.body, {}, results),
            )
            for s in stores
        ]
        return LoopKernel(
            self.kernel.parallel, (self.parts,), self._operands(), self.kernel.outputs, (*stages, *moved)
        )


def _substituted(expr: Scalar, axes: Mapping[int, Scalar], results: Mapping[Scalar, Scalar]) -> Scalar:
    """Axes and results of stages exchanged, at once: what comes in holds axes of its own."""

    def visit(node: Scalar) -> Scalar | None:
        return results.get(node)

    moved = substitute(expr, lambda node: axes.get(node.payload) if node.head == "axis" else None)
    return substitute(moved, visit) if results else moved
