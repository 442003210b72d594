"""LoopKernels as GPU kernels: a nest and a schedule become one Triton function.

A program holds one block of every parallel dimension. Rows that fit are held in registers for all stages; longer ones
are walked in a loop for each stage, with one accumulator a position that is folded at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engineworks.codegen.llvm.loops_nest import Fold, Nest, Write, plain_nest_of
from engineworks.codegen.triton.casts import portable_pointer, rounded
from engineworks.codegen.triton.function import Argument, KernelFunction, named
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.loops_narrow import is_wide, narrowed, with_narrow_indices
from engineworks.codegen.triton.loops_reduce import Monoid
from engineworks.codegen.triton.loops_schedule import GpuSchedule
from engineworks.codegen.triton.loops_scope import Emission, Scope, shape_text
from engineworks.core.dims import Dim, ceil_div, multiple_of
from engineworks.ir.kernel import LoopKernel
from engineworks.ir.scalar import Scalar, leaves_of

_TEXT = """{helpers}
@triton.jit
def KERNEL({parameters}):
    gdc_wait()
    gdc_launch_dependents()
{body}"""

UNROLLED = 32
"""Reduced positions at most that are written out one after the other."""


@dataclass(frozen=True, slots=True)
class LoopCode:
    """One emitted kernel.

    Attributes:
        sizes: the dims that follow the addresses of the operands and of the outputs as argument words.
        grid: number of programs.
    """

    function: KernelFunction
    sizes: tuple[Dim, ...]
    grid: Dim


def gpu_nest_of(kernel: LoopKernel) -> Nest:
    """The nest that schedules of a kernel are about."""
    nest = plain_nest_of(kernel)
    return nest.mapped(
        lambda expr: expr if expr.dtype.name == "i64" else with_narrow_indices(expr, nest.extents)
    )


def emit_loops(kernel: LoopKernel, schedule: GpuSchedule) -> LoopCode:
    """The code of one kernel. Its words: every operand's address, every output's, then `sizes`."""
    nest = gpu_nest_of(kernel)
    writer = _Loops(nest, schedule)
    writer.emit()
    e = writer.emission
    pointers = [portable_pointer(f"in{k}", t.dtype) for k, t in enumerate(nest.operands)]
    pointers += [portable_pointer(f"out{k}", t.dtype) for k, t in enumerate(nest.outputs)]
    kind = "i64" if writer.is_wide else "i32"
    integers = [Argument(name, kind, multiple_of(size) % 16 == 0) for size, name in e.sizes.items()]
    arguments = (*pointers, *integers)
    text = _TEXT.format(
        helpers="".join(writer.helpers), parameters=", ".join(a.name for a in arguments), body=e.lines
    )
    function = named("loops", text, arguments, warps=schedule.warps, stages=1, waits=True)
    return LoopCode(function, tuple(e.sizes), schedule.programs(dict(nest.extents)))


class _Loops:
    """The emitter of one kernel."""

    def __init__(self, nest: Nest, schedule: GpuSchedule) -> None:
        self.nest, self.schedule = nest, schedule
        self.is_wide = is_wide(nest)
        reduced = schedule.reduced
        dimensions = (*schedule.parallel, *((reduced,) if reduced else ()))
        number = len(schedule.parallel) if reduced else -1
        index_type = "tl.int64" if self.is_wide else "tl.int32"
        self.emission = Emission(nest, Lines(1), dimensions, number, index_type)
        self.helpers: dict[str, None] = {}
        self.rows = frozenset(range(len(schedule.parallel)))
        self.everything = frozenset(range(len(dimensions)))

    def emit(self) -> None:
        scope = Scope(self.emission)
        self._place(scope)
        if self.schedule.holds_rows(self.nest.extents):
            if self.emission.reduced >= 0:
                scope.set_flat(self.emission.reduced, self.emission.arange(self.emission.reduced))
            for number, stage in enumerate(self.nest.stages):
                self._held_stage(scope, number, stage)
            return
        for group in self._groups():
            self._looped(scope, group)

    def _place(self, scope: Scope) -> None:
        """The flat index of each parallel dimension, from the program's number."""
        e, lines = self.emission, self.emission.lines
        rest = lines.let(f"tl.program_id(0).to({e.index_type})", "p")
        for number in reversed(range(len(self.schedule.parallel))):
            dimension = self.schedule.parallel[number]
            here = rest
            if number > 0:
                count = e.dim(ceil_div(e.extent(number), dimension.block))
                here = lines.let(f"{rest} % {count}", "p")
                rest = lines.let(f"{rest} // {count}", "p")
            moving = f" * {dimension.block} + {e.arange(number)}" if dimension.block > 1 else ""
            scope.set_flat(number, f"{here}{moving}")

    # -- rows in registers ------------------------------------------------------------------------------------
    def _held_stage(self, scope: Scope, number: int, stage: Fold | Write) -> None:
        if isinstance(stage, Write):
            scope.store(
                stage.output, stage.offset, stage.body, self.everything if stage.over_reduced else self.rows
            )
            return
        monoid = self._monoid(stage)
        value = scope.value(stage.body)
        place = self._position(scope, stage) if monoid.has_place else ""
        self.emission.stages[number] = self._folded(
            scope, stage, monoid, self._kept(scope, value, monoid), place
        )

    def _kept(self, scope: Scope, value: str, monoid: Monoid) -> str:
        """The value over the whole block, with the identity beyond the row's end."""
        e = self.emission
        if e.reduced < 0 or e.dimensions[e.reduced].block == 1:
            return value
        value = scope.spread(value, self.everything)
        mask = scope.masks.get(e.reduced)
        return e.lines.let(f"tl.where({mask}, {value}, {monoid.identity})" if mask else value)

    def _position(self, scope: Scope, stage: Fold) -> str:
        """Places of the block's elements, -1 beyond the row's end."""
        e = self.emission
        narrow = narrowed(stage.position, self.nest.extents)
        place = f"{scope.value(stage.position if narrow is None else narrow)}.to({e.index_type})"
        mask = scope.masks.get(e.reduced)
        if mask:
            place = f"tl.where({mask}, {place}, -1)"
        return e.lines.let(scope.spread(place, self.everything))

    def _folded(self, scope: Scope, stage: Fold, monoid: Monoid, value: str, place: str) -> str:
        """The result of a reduction from what is left along the reduced dimension's block."""
        e, lines = self.emission, self.emission.lines
        rank = len(e.blocks)
        across = e.reduced >= 0 and e.dimensions[e.reduced].block > 1
        if monoid.has_place:
            if across:
                place = monoid.place_across(lines, value, place, rank - 1, rank)
            return lines.let(f"{place}.to(tl.int64)")
        if across:
            value = monoid.across(lines, value, rank - 1, rank)
        return lines.let(rounded(lines, value, stage.dtype))

    def _monoid(self, stage: Fold) -> Monoid:
        monoid = Monoid(stage.monoid, stage.body.dtype)
        self.helpers[monoid.helper] = None
        return monoid

    # -- rows in a loop ---------------------------------------------------------------------------------------
    def _groups(self) -> Iterator[list[tuple[int, Fold | Write]]]:
        """Stages that one walk over the reduced domain can do together: none reads another's result."""
        group: list[tuple[int, Fold | Write]] = []
        for number, stage in enumerate(self.nest.stages):
            needs = {s.payload for expr in _expressions(stage) for s in leaves_of(expr, "stage")}
            if group and (needs & {n for n, _ in group} or not _walks(stage) or not _walks(group[-1][1])):
                yield group
                group = []
            group.append((number, stage))
        if group:
            yield group

    def _looped(self, scope: Scope, group: list[tuple[int, Fold | Write]]) -> None:
        e = self.emission
        if not _walks(group[0][1]):
            for _, stage in group:
                assert isinstance(stage, Write), "only writes of single elements stand outside of loops"
                scope.store(stage.output, stage.offset, stage.body, self.rows)
            return
        folds = [(n, s, self._monoid(s)) for n, s in group if isinstance(s, Fold)]
        accumulators = {n: self._accumulator(m) for n, _, m in folds}
        for _, stage in group:
            for expr in _expressions(stage):
                scope.hoist(expr)
        block = e.dimensions[e.reduced].block
        step = e.lines.name("r")
        extent = e.extent(e.reduced)
        unrolls = block == 1 and isinstance(extent, int) and extent <= UNROLLED
        over = "tl.static_range" if unrolls else "range"
        with e.lines.block(f"for {step} in {over}(0, {e.dim(extent)}, {block}):"):
            inner = scope.inner()
            here = f"{step} + {e.arange(e.reduced)}" if block > 1 else f"tl.full((), {step}, {e.index_type})"
            inner.set_flat(e.reduced, here if unrolls or block > 1 else f"{step} + 0")
            for number, stage in group:
                if isinstance(stage, Write):
                    inner.store(stage.output, stage.offset, stage.body, self.everything)
                else:
                    self._accumulate(inner, stage, self._monoid(stage), accumulators[number])
        for number, stage, monoid in folds:
            e.stages[number] = self._folded(scope, stage, monoid, *accumulators[number])

    def _accumulator(self, monoid: Monoid) -> tuple[str, str]:
        """(values, places) before anything was seen."""
        e = self.emission
        shape = e.shape(self.everything)
        full = f"tl.broadcast_to({monoid.identity}, {shape_text(shape)})" if shape else monoid.identity
        value = e.lines.let(full, "acc")
        if not monoid.has_place:
            return value, ""
        nothing = f"tl.full({shape_text(shape) if shape else '()'}, -1, {e.index_type})"
        return value, e.lines.let(nothing, "acc")

    def _accumulate(self, scope: Scope, stage: Fold, monoid: Monoid, accumulator: tuple[str, str]) -> None:
        e = self.emission
        total, place = accumulator
        value = self._kept(scope, scope.value(stage.body), monoid)
        if monoid.has_place:
            position = self._position(scope, stage)
            e.lines.line(f"{total}, {place} = {monoid.function}({total}, {place}, {value}, {position})")
        else:
            e.lines.line(f"{total} = {monoid.combined(total, value)}")


def _expressions(stage: Fold | Write) -> list[Scalar]:
    if isinstance(stage, Fold):
        return [stage.body]
    return [stage.offset, stage.body]


def _walks(stage: Fold | Write) -> bool:
    """True when the stage does something for every position of the reduced domain."""
    return isinstance(stage, Fold) or stage.over_reduced
