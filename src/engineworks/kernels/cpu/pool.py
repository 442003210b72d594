"""Poolings, channels-last: registers run over channels, one output row a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Function, Isa, Size, f32_constant
from engineworks.codegen.llvm.loads import iota_below, load_vector, splat, store_vector
from engineworks.codegen.llvm.prims import EMIT, emit_epilogue
from engineworks.codegen.llvm.vector import Vector, compute_kind, constant
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import pixel_strides, valid_taps
from engineworks.kernels.cpu.conv_cost import CYCLES_PER_SECOND, typical
from engineworks.kernels.cpu.conv_epilogue import Finish, finish_of, tile_operands
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.pool_loops import Pool, pool_of
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops._windows import per_axis
from engineworks.ops.average_pool import AveragePool
from engineworks.ops.lp_pool import LpPool
from engineworks.ops.max_pool import MaxPool

MAX_UNROLLED_COLUMNS = 16
"""Wider windows loop over their columns at run time."""
_MAX_DTYPES = ("f32", "f16", "bf16", "i8", "u8", "i32", "i16", "u16")
_MEAN_DTYPES = ("f32", "f16", "bf16")


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """`vectors`: registers of channels that are in flight together."""

    vectors: int


class CpuPool:
    """max_pool without positions, average_pool and lp_pool with p = 2, over at most three axes."""

    name = "cpu.pool"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """By how many channels are in flight.

        Raises:
            NoTactic: positions are asked for, another norm than p = 2, a dtype without such a kernel, or channels
                that are not innermost in memory.
        """
        geometry = _geometry(work)
        lanes = _lanes(work, isa)
        loads = (
            typical(geometry.rows)
            * typical(geometry.out[2])
            * geometry.window
            * -(-geometry.channels // lanes)
        )
        choices = [v for v in (4, 2, 1) if v * lanes <= geometry.channels or v == 1]
        seconds = 1e-6 + loads / CYCLES_PER_SECOND
        return [Tactic(self.name, PoolConfig(v), seconds * (1 + 0.1 * k)) for k, v in enumerate(choices)][
            : max(1, effort)
        ]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """One step."""
        parts = ImageParts()
        f = Function("pool")
        pool = _Pool(f, isa, work, tactic.config.vectors)
        pool.emit()
        parts.step("pool", f, pool.arguments, pool.g.rows)
        return parts.image()


@dataclass(frozen=True, slots=True)
class _Geometry:
    """A pooling with its spatial axes brought to three."""

    op: Pool
    batch: Dim
    channels: int
    size: tuple[Dim, ...]
    out: tuple[Dim, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    x_strides: tuple[Dim, ...]
    y_strides: tuple[Dim, ...]

    @property
    def window(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.kernel[2]

    @property
    def rows(self) -> Dim:
        """Output rows: the tasks."""
        return self.batch * self.out[0] * self.out[1]


def _geometry(work: Workload) -> _Geometry:
    op, x, windows = pool_of(work)
    y = work.outputs[0]
    if isinstance(op, MaxPool) and op.indices:
        raise NoTactic("positions of maxima are found by a loop nest")
    if isinstance(op, LpPool) and op.p != 2:
        raise NoTactic(f"norms with p={op.p} are computed by a loop nest")
    means = _MEAN_DTYPES if isinstance(op, AveragePool) else ("f32",)
    if x.dtype.name not in (_MAX_DTYPES if isinstance(op, MaxPool) else means):
        raise NoTactic(f"there is no such kernel for {x.dtype}")
    x_strides, y_strides = pixel_strides(x), pixel_strides(y)
    if x_strides is None or y_strides is None or not isinstance(x.shape[1], int) or x.rank > 5:
        raise NoTactic(f"{x} and {y} do not both have a known number of channels innermost in memory")
    axes = x.rank - 2
    missing = 3 - axes
    ones, zeros = (1,) * missing, (0,) * missing
    return _Geometry(
        op, x.shape[0], x.shape[1], ones + x.shape[2:], ones + y.shape[2:], ones + op.kernel,
        ones + per_axis(op.strides, axes, "strides"), ones + per_axis(op.dilations, axes, "dilations"),
        zeros + tuple(w.pad_before for w in windows), zeros + tuple(w.pad_after for w in windows), x_strides, y_strides,
    )  # fmt: skip


def _lanes(work: Workload, isa: Isa) -> int:
    """Elements of a register: of integers as many as it holds, of floats f32s."""
    op, x, _ = pool_of(work)
    whole = isinstance(op, MaxPool) and x.dtype.is_integer and work.epilogue is None
    return isa.vector_bits // x.dtype.bits if whole else isa.lanes


class _Pool:
    """One kernel while it is emitted. `lanes` is that of the registers in hand: fewer at the end of the channels."""

    def __init__(self, f: Function, isa: Isa, work: Workload, vectors: int) -> None:
        self.f, self.isa, self.work, self.vectors = f, isa, work, vectors
        self.g = _geometry(work)
        self.end: Finish = finish_of(work)
        operand = work.inputs[0]
        assert operand is not None, "a pooling has an input"
        self.dtype: DType = operand.type.dtype
        self.kind = compute_kind(self.dtype)
        self.lanes = _lanes(work, isa)
        self.arguments = arguments = Words(f)
        self.x, self.y = arguments.pointer(Input(0)), arguments.pointer(Output(0))
        self.operands = {index: arguments.pointer(Input(index)) for index, _, _ in self.end.operands}
        g = self.g
        self.size, self.out, self.before = (
            arguments.sizes(g.size),
            arguments.sizes(g.out),
            arguments.sizes(g.before),
        )
        self.after = arguments.sizes(g.after)
        self.x_strides, self.y_strides = arguments.sizes(g.x_strides), arguments.sizes(g.y_strides)

    @property
    def vector(self) -> str:
        """The type of a register."""
        return f"<{self.lanes} x {self.kind}>"

    def emit(self) -> None:
        """A task is an output row: pixels at both ends test their columns, the others do not."""
        f, g = self.f, self.g
        across, left = self.out[2], self.before[2]
        reach = (g.kernel[2] - 1) * g.dilations[2] + 1
        first = f.smin(f.ceil_div(f.smax(left, 0), g.strides[2]), across)
        room = f.sub(f.add(self.size[2], left), reach)
        fitting = f.udiv(f.smax(f.add(room, g.strides[2]), 0), g.strides[2])
        last = f.smax(f.smin(fitting, across), first)
        if g.kernel[2] > MAX_UNROLLED_COLUMNS:
            first = last = across
        with f.loop("%lo", "%hi") as task:
            oy = f.urem(task, self.out[1])
            oz = f.urem(f.udiv(task, self.out[1]), self.out[0])
            image = f.udiv(task, f.mul(self.out[0], self.out[1]))
            starts = [f.sub(f.mul(o, g.strides[a]), self.before[a]) for a, o in enumerate((oz, oy))]
            x = f.add(
                f.mul(image, self.x_strides[0]),
                f.add(f.mul(starts[0], self.x_strides[1]), f.mul(starts[1], self.x_strides[2])),
            )
            y = f.add(
                f.mul(image, self.y_strides[0]),
                f.add(f.mul(oz, self.y_strides[1]), f.mul(oy, self.y_strides[2])),
            )
            for begin, end, whole in ((0, first, False), (first, last, True), (last, across, False)):
                if isinstance(begin, int) and isinstance(end, int) and begin >= end:
                    continue
                with f.loop(begin, end) as ox:
                    self._pixel(ox, starts, x, y, whole)

    def _pixel(self, ox: Size, starts: list[Size], x: Size, y: Size, whole: bool) -> None:
        """All channels of one output; `whole`: no column of its window lies outside."""
        f, g = self.f, self.g
        column = f.sub(f.mul(ox, g.strides[2]), self.before[2])
        places = [*starts, column]
        taps = [valid_taps(f, places[a], self.size[a], g.kernel[a], g.dilations[a]) for a in range(2)]
        taps.append(
            (0, g.kernel[2]) if whole else valid_taps(f, column, self.size[2], g.kernel[2], g.dilations[2])
        )
        scale = self._reciprocal(places, taps) if isinstance(g.op, AveragePool) else None
        source = f.add(x, f.mul(column, self.x_strides[3]))
        target = f.add(y, f.mul(ox, self.y_strides[3]))

        def block(channel: Size, vectors: int, count: int | None) -> None:
            lanes = self.lanes
            mask = None if count is None else iota_below(f, lanes, count)
            totals = self._fold(f.add(source, channel), taps, vectors, mask, whole)
            for j, total in enumerate(totals):
                at = f.add(channel, j * lanes)
                self._store(total, scale, f.add(target, at), at, mask)

        self._over_channels(block)

    def _over_channels(self, block: Callable[[Size, int, int | None], None]) -> None:
        """Blocks of `vectors` registers, then single ones, then shorter ones, the last of them masked."""
        channels, done = self.g.channels, 0
        widest = self.lanes
        for vectors, lanes in dict.fromkeys(((self.vectors, widest), (1, widest), (1, self.isa.lanes))):
            self.lanes = lanes
            end = done + (channels - done) // (vectors * lanes) * (vectors * lanes)
            if end > done:
                with self.f.loop(done, end, vectors * lanes) as channel:
                    block(channel, vectors, None)
            done = end
        if done < channels:
            block(done, 1, channels - done)
        self.lanes = widest

    def _reciprocal(self, places: list[Size], taps: list[tuple[Size, Size]]) -> str:
        """1 / the number of positions that count, in all lanes."""
        f, g = self.f, self.g
        if isinstance(g.op, AveragePool) and g.op.count_include_pad:
            taps = [
                valid_taps(
                    f,
                    f.add(places[a], self.before[a]),
                    f.add(f.add(self.size[a], self.before[a]), self.after[a]),
                    g.kernel[a],
                    g.dilations[a],
                )
                for a in range(3)
            ]
        count: Size = 1
        for first, end in taps:
            count = f.mul(count, f.sub(end, first))
        if isinstance(count, int):
            return f"splat (float {f32_constant(1 / count)})"
        number = f.value(f"sitofp i64 {count} to float")
        return splat(f, self.lanes, "float", f.value(f"fdiv float {f32_constant(1.0)}, {number}"))

    def _fold(
        self, source: Size, taps: list[tuple[Size, Size]], vectors: int, mask: str | None, whole: bool
    ) -> list[str]:
        """The maxima or sums of `vectors` registers of channels."""
        f, g = self.f, self.g
        totals = [f.variable(self.vector, self._identity()) for _ in range(vectors)]

        def column(base: Size, j: Size) -> None:
            at = f.add(base, f.mul(f.mul(j, g.dilations[2]), self.x_strides[3]))
            for k, total in enumerate(totals):
                element = f.mul(f.add(at, k * self.lanes), self.dtype.size_bytes)
                pointer = f.value(f"getelementptr i8, ptr {self.x}, i64 {element}")
                value = self._decoded(load_vector(f, self.lanes, self.dtype, pointer, mask))
                f.set(self.vector, total, self._combined(f.get(self.vector, total), value))

        with f.loop(*taps[0]) as d, f.loop(*taps[1]) as i:
            plane = f.add(source, f.mul(f.mul(d, g.dilations[0]), self.x_strides[1]))
            line = f.add(plane, f.mul(f.mul(i, g.dilations[1]), self.x_strides[2]))
            if whole:
                for j in range(g.kernel[2]):
                    column(line, j)
            else:
                with f.loop(*taps[2]) as j:
                    column(line, j)
        return [f.get(self.vector, total) for total in totals]

    def _decoded(self, register: str) -> str:
        """A loaded value in the form that is computed with: f32 for f16 and bf16."""
        kind = {"f16": "half", "bf16": "bfloat"}.get(self.dtype.name, self.kind)
        return casts.decode(self.dtype, Vector(self.f, self.isa, kind, self.lanes, register)).name

    def _encoded(self, total: str) -> str:
        """A computed value, rounded, in register form."""
        value = casts.round_to(self.dtype, Vector(self.f, self.isa, self.kind, self.lanes, total))
        register = casts.encode(self.dtype, value)
        return register.bits("bfloat").name if self.dtype.name == "bf16" else register.name

    def _identity(self) -> str:
        if not isinstance(self.g.op, MaxPool):
            return "zeroinitializer"
        low = (
            float("-inf")
            if self.dtype.is_float
            else -(1 << (self.dtype.bits - 1))
            if self.dtype.kind == "int"
            else 0
        )
        return constant(self.kind, self.lanes, low)

    def _combined(self, total: str, value: str) -> str:
        f, v = self.f, self.vector
        if isinstance(self.g.op, MaxPool):
            blank = Vector(f, self.isa, self.kind, self.lanes, "")
            return EMIT["max"](self.dtype, blank.of(total), blank.of(value)).name
        if isinstance(self.g.op, LpPool):
            return f.call(v, f"llvm.fma.v{self.lanes}f32", f"{v} {value}", f"{v} {value}", f"{v} {total}")
        return f.value(f"fadd {v} {total}, {value}")

    def _store(self, total: str, scale: str | None, element: Size, channel: Size, mask: str | None) -> None:
        f, lanes, dtype = self.f, self.lanes, self.work.outputs[0].dtype
        if scale is not None:
            total = f.value(f"fmul {self.vector} {total}, {scale}")
        elif isinstance(self.g.op, LpPool):
            total = f.call(self.vector, f"llvm.sqrt.v{lanes}f32", f"{self.vector} {total}")
        total = self._encoded(total)
        if self.end.expression is not None:
            given = tile_operands(f, self.operands, self.end, element, channel)
            loaded = [
                load_vector(
                    f,
                    lanes,
                    o.dtype,
                    o.pointer,
                    None if o.kind == "scalar" else mask,
                    broadcast=o.kind == "scalar",
                )
                for o in given
            ]
            total = emit_epilogue(f, self.isa, self.end.expression, [total, *loaded])
        store_vector(f, lanes, dtype, f.at(self.y, f.mul(element, dtype.size_bytes)), total, mask)


PROVIDERS = (CpuPool(),)
