"""LoopKernels as CPU kernels: a nest and a schedule become one LLVM function.

Either neighbours along a parallel axis share a vector (rows side by side; reductions keep one accumulator a row), or
neighbours along a reduced axis do (one row at a time; its vector of accumulators is folded at the end).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loops_index import linear_of
from engineworks.codegen.llvm.loops_memory import Memory, Place
from engineworks.codegen.llvm.loops_nest import Fold, Nest, Write, nest_of
from engineworks.codegen.llvm.loops_reduce import Accumulator
from engineworks.codegen.llvm.loops_scope import Emission, Lanes, Scope
from engineworks.codegen.llvm.loops_tile import load_tile, tile_loads
from engineworks.codegen.llvm.vector import Vector
from engineworks.codegen.schedule import CpuSchedule, likely
from engineworks.core.dims import Dim, product
from engineworks.ir.kernel import LoopKernel
from engineworks.ir.scalar import Scalar, leaves_of


@dataclass(frozen=True, slots=True)
class LoopCode:
    """One emitted kernel.

    Attributes:
        text: the LLVM definition.
        sizes: the dims that follow the addresses of the operands and of the outputs as argument words.
        tasks: size of the task space.
    """

    symbol: str
    text: str
    declarations: frozenset[str]
    sizes: tuple[Dim, ...]
    tasks: Dim


def emit_loops(kernel: LoopKernel, schedule: CpuSchedule, isa: Isa, symbol: str) -> LoopCode:
    """The code of one kernel. Its words: every operand's address, every output's, then `sizes`."""
    nest = nest_of(kernel)
    sizes = _symbolic_sizes(nest)
    f = Function(symbol)
    count = len(nest.operands)
    bases = {k: f.pointer(k) for k in range(count)}
    bases |= {-1 - k: f.pointer(count + k) for k in range(len(nest.outputs))}
    words = {dim: f.word(count + len(nest.outputs) + k) for k, dim in enumerate(sizes)}
    _Loops(f, isa, nest, schedule, bases, words).emit()
    return LoopCode(
        symbol, f.text(), frozenset(f.declarations), tuple(sizes), schedule.tasks(dict(nest.extents))
    )


def _symbolic_sizes(nest: Nest) -> list[Dim]:
    """Every dim that the code reads, in a fixed order."""
    found: dict[Dim, None] = dict.fromkeys(nest.extents.values())
    for expr in nest.expressions():
        found |= dict.fromkeys(s.payload for s in leaves_of(expr, "size"))
        for offset in (expr, *(node.args[0] for node in leaves_of(expr, "load"))):
            if offset.dtype.name == "i64":
                form = linear_of(offset)
                found |= dict.fromkeys((form.constant, *(c for _, c in form.terms)))
    return [d for d in found if not isinstance(d, int)]


_SPAN = 256
"""Additions into one accumulator before it is added to the total."""

Innermost = Callable[[Size, Callable[[Size, Size], None]], None]


class _Loops:
    """The emitter of one kernel."""

    def __init__(
        self,
        f: Function,
        isa: Isa,
        nest: Nest,
        schedule: CpuSchedule,
        bases: dict[int, str],
        words: dict[Dim, str],
    ) -> None:
        self.f, self.isa, self.nest, self.schedule = f, isa, nest, schedule
        depth = {a: d + 1 for d, a in enumerate((*schedule.order, *schedule.reduced))}
        self.rows_in_vectors = schedule.vector in schedule.order
        memory = Memory(f, isa, nest.operands, nest.outputs, bases)
        self.emission = Emission(
            f, isa, nest, memory, schedule.vector, words, depth, {}, self.rows_in_vectors
        )

    def extent(self, axis_id: int) -> Size:
        return self.emission.size(self.nest.extents[axis_id])

    # -- tasks ------------------------------------------------------------------------------------------------
    def emit(self) -> None:
        """Tasks lo … hi-1: the leading axes from the task number, the rest as loops."""
        schedule, f = self.schedule, self.f
        scope = Scope(self.emission)
        self._hoist_all(scope)
        if not schedule.cut:
            self._rows(scope, schedule.order, 0, None)
        elif schedule.cut == 1:
            # Consecutive tasks are consecutive positions of one axis: one range, no loop over tasks.
            extent = self.extent(schedule.order[0])
            low = f.mul("%lo", schedule.grain)
            high = f.smin(f.mul("%hi", schedule.grain), extent)
            self._rows(scope, schedule.order, low, high)
        else:
            with f.loop("%lo", "%hi") as task:
                self._task(scope.inner(), task)

    def _task(self, scope: Scope, task: Size) -> None:
        f, schedule = self.f, self.schedule
        leading, cut_axis = schedule.order[: schedule.cut - 1], schedule.order[schedule.cut - 1]
        extent = self.extent(cut_axis)
        blocks = f.ceil_div(extent, schedule.grain)
        block = f.urem(task, blocks)
        rest = f.udiv(task, blocks)
        for axis_id in reversed(leading[1:]):
            scope = scope.inner(axis_id, f.urem(rest, self.extent(axis_id)))
            rest = f.udiv(rest, self.extent(axis_id))
        scope = scope.inner(leading[0], rest)
        self._hoist_all(scope)
        low = f.mul(block, schedule.grain)
        high = f.smin(f.add(low, schedule.grain), extent)
        self._rows(scope, schedule.order[schedule.cut - 1 :], low, high)

    def _rows(self, scope: Scope, axes: tuple[int, ...], low: Size, high: Size | None) -> None:
        """All rows of these parallel axes; the first runs from low to high."""
        if not axes:
            self._row(scope)
            return
        first, rest = axes[0], axes[1:]
        end = self.extent(first) if high is None else high
        if first == self.schedule.vector:
            self._along(scope, low, end, self._row, self._leftover(low))
            return
        if first == self.schedule.tile:
            self._tiles(scope, low, end)
            return
        with self.f.loop(low, end) as index:
            inner = scope.inner(first, index)
            self._hoist_all(inner)
            self._rows(inner, rest, 0, None)

    def _leftover(self, low: Size) -> int | None:
        """See `_along`: of the vector axis when tasks are blocks of it."""
        extent, block = self.nest.extents[self.schedule.vector], self.schedule.lanes * self.schedule.unroll
        if isinstance(low, int) or not isinstance(extent, int) or self.schedule.grain % block:
            return None
        return extent % block

    def _tiles(self, scope: Scope, low: Size, high: Size) -> None:
        """Squares of the tile axis (low … high-1) and the vector axis; what is left over goes element by element."""
        f, lanes, tile, vector = self.f, self.schedule.lanes, self.schedule.tile, self.schedule.vector
        whole = f.add(low, f.mul(f.udiv(f.sub(high, low), lanes), lanes))
        extent = self.extent(vector)
        squares = f.mul(f.udiv(extent, lanes), lanes)
        with f.loop(low, whole, lanes) as start:
            rows = [scope.inner(tile, f.add(start, k)) for k in range(lanes)]
            for row in rows:
                self._hoist_all(row)
            with f.loop(0, squares, lanes) as index:
                self._square(rows, index)
            if squares != extent:
                with f.loop(start, f.add(start, lanes)) as position:
                    self._along(scope.inner(tile, position), squares, extent, self._row)
        if whole != high:
            with f.loop(whole, high) as position:
                row = scope.inner(tile, position)
                self._hoist_all(row)
                self._along(row, 0, extent, self._row)

    def _square(self, rows: list[Scope], index: Size) -> None:
        """One square: `rows` are the scopes of its positions along the tile axis."""
        group = Lanes(rows[0].inner(), index, self.schedule.lanes)
        loads = tile_loads(self.nest, self.schedule.tile, self.schedule.vector)
        tiles = {load: load_tile(self.emission, group, load) for load in loads}
        for k, row in enumerate(rows):
            scope = self._with_groups(row, index, 1, None)
            scope.groups[0].values |= {load: columns[k] for load, columns in tiles.items()}
            self._row(scope)

    def _hoist_all(self, scope: Scope) -> None:
        """Emit what no inner loop changes, of all stages."""
        for stage in self.nest.stages:
            self._hoist(scope, stage)

    def _hoist(self, scope: Scope, stage: Fold | Write) -> None:
        values = [stage.body]
        if isinstance(stage, Fold) and stage.monoid.startswith("arg"):
            values.append(stage.position)
        scope.hoist(values, self.schedule.lanes)
        for store in stage.saves if isinstance(stage, Fold) else (stage,):
            scope.hoist_address(-1 - store.output, store.offset)

    def _along(
        self, scope: Scope, low: Size, high: Size, body: Callable[[Scope], None], leftover: int | None = None
    ) -> None:
        """Call `body` on groups of lanes that cover low … high-1 of the vector axis: unrolled, single, masked.

        `leftover`: what high - low is beyond whole unrolled blocks, where it is either that or nothing.
        """
        f, lanes = self.f, self.schedule.lanes
        block = lanes * self.schedule.unroll
        start = low
        for step in dict.fromkeys((block, lanes)):
            end = f.add(start, f.mul(f.udiv(f.sub(high, start), step), step))
            if end == start or (step < block and leftover is not None and leftover < lanes):
                continue
            with f.loop(start, end, step) as index:
                body(self._with_groups(scope, index, step // lanes, None))
            start = end
        if lanes == 1 or start == high or (leftover is not None and leftover % lanes == 0):
            return
        mask = self._tail_mask(f.sub(high, start) if leftover is None else leftover % lanes)
        if isinstance(start, int) and isinstance(high, int):
            body(self._with_groups(scope, start, 1, mask))
        else:
            with f.when(f.compare("slt", start, high)):
                body(self._with_groups(scope, start, 1, mask))

    def _with_groups(self, scope: Scope, index: Size, count: int, mask: Vector | None) -> Scope:
        inner = scope.inner()
        lanes = self.schedule.lanes
        inner.groups = [Lanes(inner, self.f.add(index, k * lanes), lanes, mask) for k in range(count)]
        return inner

    def _tail_mask(self, count: Size) -> Vector:
        """The first `count` lanes."""
        lanes = self.schedule.lanes
        blank = Vector(self.f, self.isa, "i32", lanes, "")
        if isinstance(count, int):
            return blank.of(
                "<" + ", ".join(f"i1 {'true' if k < count else 'false'}" for k in range(lanes)) + ">", "i1"
            )
        ramp = blank.of("<" + ", ".join(f"i32 {k}" for k in range(lanes)) + ">")
        narrow = self.f.value(f"trunc i64 {count} to i32")
        first = self.f.value(f"insertelement {blank.type} poison, i32 {narrow}, i32 0")
        every = self.f.value(
            f"shufflevector {blank.type} {first}, {blank.type} poison, {blank.type} zeroinitializer"
        )
        return ramp.compare("ult", blank.of(every))

    # -- stages -----------------------------------------------------------------------------------------------
    def _row(self, scope: Scope) -> None:
        """All stages of one row, or of the rows in the scope's lanes."""
        for number, stage in enumerate(self.nest.stages):
            if isinstance(stage, Fold):
                fold = self._fold_rows if self.rows_in_vectors else self._fold_row
                fold(scope, number, stage)
            elif not stage.over_reduced:
                self._write(scope, stage)
            else:
                self._over_reduced(scope, stage)

    def _write(self, scope: Scope, stage: Write) -> None:
        if scope.groups:
            for group in scope.groups:
                group.vector(stage.body)
            for group in scope.groups:
                group.store(stage.output, stage.offset, stage.body)
            return
        e = self.emission
        value = scope.scalar(stage.body)
        pointer = scope.address(-1 - stage.output, linear_of(stage.offset))
        e.memory.store(
            Place(-1 - stage.output, pointer, 1),
            stage.body.dtype,
            casts.encode(stage.body.dtype, value),
            None,
        )

    def _over_reduced(self, scope: Scope, stage: Write) -> None:
        self._reduced_loops(scope, stage, lambda inner: self._write(inner, stage))

    def _reduced_loops(
        self,
        scope: Scope,
        stage: Fold | Write,
        body: Callable[[Scope], None],
        innermost: Innermost | None = None,
    ) -> None:
        """Loops over the reduced axes around `body`; the last of them in vectors where rows are not.

        `innermost` may cut the last loop into spans; it gets the loop's extent and what runs one span.
        """

        def span(scope: Scope, axis_id: int, low: Size, high: Size) -> None:
            if axis_id == self.schedule.vector:
                self._along(scope, low, high, body)
            else:
                with self.f.loop(low, high) as index:
                    nested(scope.inner(axis_id, index), ())

        def nested(scope: Scope, axes: tuple[int, ...]) -> None:
            self._hoist(scope, stage)
            if not axes and isinstance(stage, Fold) and not scope.groups:
                body(self._with_groups(scope, 0, 1, None))  # every axis has one position: no vector axis
            elif not axes:
                body(scope)
            elif len(axes) == 1 and innermost is not None:
                innermost(self.extent(axes[0]), lambda low, high: span(scope.inner(), axes[0], low, high))
            elif len(axes) == 1:
                span(scope, axes[0], 0, self.extent(axes[0]))
            else:
                with self.f.loop(0, self.extent(axes[0])) as index:
                    nested(scope.inner(axes[0], index), axes[1:])

        nested(scope.inner(), self.schedule.reduced)

    # -- reductions -------------------------------------------------------------------------------------------
    def _accumulate(self, stage: Fold, accumulators: list[Accumulator]) -> Callable[[Scope], None]:
        def body(scope: Scope) -> None:
            for group, accumulator in zip(scope.groups, accumulators, strict=False):
                position = group.vector(stage.position) if accumulator.has_position else None
                accumulator.add(group.vector(stage.body), position, group.mask)
                for save in stage.saves:
                    group.store(save.output, save.offset, save.body)

        return body

    def _fold_rows(self, scope: Scope, number: int, stage: Fold) -> None:
        """Rows side by side: each group of lanes has its own accumulator."""
        accumulators = [self._accumulator(stage, g.lanes) for g in scope.groups]
        self._fold(scope, stage, accumulators, 1)
        for group, accumulator in zip(scope.groups, accumulators, strict=True):
            group.values[Scalar.make("stage", (), stage.dtype, number)] = accumulator.result(stage.dtype)
        scope.known.add(("stage", number))

    def _fold_row(self, scope: Scope, number: int, stage: Fold) -> None:
        """One row: accumulators along it, folded at the end."""
        accumulators = [self._accumulator(stage, self.schedule.lanes) for _ in range(self.schedule.unroll)]
        self._fold(scope, stage, accumulators, self.schedule.lanes * self.schedule.unroll)
        while len(accumulators) > 1:
            other = accumulators.pop()
            accumulators[(len(accumulators) - 1) // 2].merge(other)
        scope.learn(number, stage.dtype, accumulators[0].folded().result(stage.dtype))

    def _fold(self, scope: Scope, stage: Fold, totals: list[Accumulator], abreast: int) -> None:
        """Run the reduced loops. `abreast` elements of the innermost loop go to different places.

        Long float sums are made of sums of spans, so that the error grows with the square root of the length at most.
        """
        count = product([likely(self.nest.extents[a]) for a in self.schedule.reduced])
        if stage.monoid != "sum" or not stage.dtype.is_float or count <= 2 * _SPAN * abreast:
            self._reduced_loops(scope, stage, self._accumulate(stage, totals))
            return
        parts = [self._accumulator(stage, t.blank.lanes) for t in totals]

        def spans(extent: Size, run: Callable[[Size, Size], None]) -> None:
            with self.f.loop(0, extent, _SPAN * abreast) as low:
                for part in parts:
                    part.reset()
                run(low, self.f.smin(self.f.add(low, _SPAN * abreast), extent))
                for total, part in zip(totals, parts, strict=True):
                    total.merge(part)

        self._reduced_loops(scope, stage, self._accumulate(stage, parts), spans)

    def _accumulator(self, stage: Fold, lanes: int) -> Accumulator:
        return Accumulator(self.f, self.isa, stage.monoid, stage.body.dtype, lanes)
