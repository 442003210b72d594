"""The copy of x that AMX convolutions read: rows sorted by the phase of the stride, each with its zeros."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.kernels.cpu.conv_amx_plan import AmxPlan, shared_columns
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Word

CHUNK = 64
"""Bytes moved at once."""
JOINED = 16
"""Pixels of planes joined at once."""


def stage_rows(parts: ImageParts, source: TensorType, plan: AmxPlan, isa: Isa) -> Word:
    """Append the copying step; a task is one stored row."""
    placed, g = plan.placed, plan.g
    buffer = parts.buffer(placed.image_bytes * g.batch)
    f = Function("stage_rows")
    arguments = Words(f)
    stage = _Stage(f, isa, source, plan, arguments, buffer)
    with f.loop("%lo", "%hi") as task:
        stage.row(task)
    tasks: Dim = g.batch * placed.depth.whole * placed.height.whole
    parts.step("conv_amx_stage", f, arguments, tasks)
    return buffer


class _Stage:
    """The copying kernel while it is emitted."""

    def __init__(
        self, f: Function, isa: Isa, source: TensorType, plan: AmxPlan, arguments: Words, buffer: Word
    ) -> None:
        self.f, self.isa, self.plan, self.element = f, isa, plan, plan.element_bytes
        g, placed = plan.g, plan.placed
        self.x, self.copy = arguments.pointer(Input(0)), arguments.pointer(buffer)
        self.old, self.before = arguments.sizes(g.size), arguments.sizes(g.before)
        self.sizes = arguments.sizes((placed.depth.size, placed.height.size))
        self.whole = arguments.sizes((placed.depth.whole, placed.height.whole))
        self.row_bytes = arguments.size(placed.row_bytes)
        self.image_bytes, self.plane_bytes = (
            arguments.size(placed.image_bytes),
            arguments.size(placed.plane_bytes),
        )
        self.across = arguments.size(g.out[2])
        strides = source.strides()
        spatial = (*[0] * (3 - len(strides[2:])), *strides[2:])
        self.image, self.channel, *self.steps = arguments.sizes((strides[0], strides[1], *spatial))

    def row(self, task: Size) -> None:
        f, g = self.f, self.plan.g
        row = f.urem(task, self.whole[1])
        depth = f.urem(f.udiv(task, self.whole[1]), self.whole[0])
        image = f.udiv(task, f.mul(self.whole[0], self.whole[1]))
        start = f.add(f.mul(image, self.image_bytes), f.mul(depth, self.plane_bytes))
        line = f.at(self.copy, f.add(start, f.mul(row, self.row_bytes)))
        old = [self._source(depth, 0), self._source(row, 1)]
        inside = [f.value(f"icmp ult i64 {o}, {self.old[a]}") for a, o in enumerate(old)]
        offset = f.add(
            f.mul(image, self.image), f.add(f.mul(old[0], self.steps[0]), f.mul(old[1], self.steps[1]))
        )
        from_ = f.value(f"getelementptr i8, ptr {self.x}, i64 {f.mul(offset, self.element)}")
        f.branch(
            f.value(f"and i1 {inside[0]}, {inside[1]}"),
            lambda: self._fill(line, from_),
            lambda: self._clear(line, 0, self.row_bytes),
        )
        behind = shared_columns(g) * self.plan.pixel_bytes + CHUNK
        last = [f.compare("eq", v, f.sub(self.whole[a], 1)) for a, v in enumerate((depth, row))]
        with f.when(f.value(f"and i1 {last[0]}, {last[1]}")):
            self._clear(line, self.row_bytes, f.add(self.row_bytes, behind))

    def _source(self, stored: Size, axis: int) -> Size:
        """The depth or row of x that is stored as number `stored`."""
        f, g = self.f, self.plan.g
        phase, place = f.udiv(stored, self.sizes[axis]), f.urem(stored, self.sizes[axis])
        return f.sub(f.add(f.mul(place, g.strides[axis]), phase), self.before[axis])

    def _fill(self, line: str, source: str) -> None:
        """Zeros, the row of x as far as windows reach, zeros."""
        f, g = self.f, self.plan.g
        pixel = self.plan.pixel_bytes
        if self.plan.placed.compact:
            self._pixels(line, source, self.across, f.mul(self.steps[2], g.strides[2]))
            return
        start = f.mul(self.before[2], pixel)
        room = f.udiv(f.sub(self.row_bytes, start), pixel)
        count = f.smin(self.old[2], room)
        self._clear(line, 0, start)
        self._pixels(f.at(line, start), source, count, self.steps[2])
        self._clear(line, f.add(start, f.mul(count, pixel)), self.row_bytes)

    def _pixels(self, line: str, source: str, count: Size, step: Size) -> None:
        """`count` pixels that lie `step` elements apart."""
        f, g = self.f, self.plan.g
        if self.channel != 1 and g.channels > 1:
            self._elements(line, source, count, step)
        elif step == g.channels:
            self._move(line, source, f.mul(count, g.channels * self.element))
        else:
            with f.loop(0, count) as pixel:
                to = f.at(line, f.mul(pixel, g.channels * self.element))
                self._move(
                    to, f.at(source, f.mul(pixel, f.mul(step, self.element))), g.channels * self.element
                )

    def _elements(self, line: str, source: str, count: Size, step: Size) -> None:
        """Channels lie apart: two to four planes are joined in registers, others go element by element."""
        f, g, kind = self.f, self.plan.g, f"i{self.element * 8}"
        first: Size = 0
        stored = self.plan.placed.channels
        if step == 1 and stored in (2, 4):
            first = f.mul(f.udiv(count, JOINED), JOINED)
            with f.loop(0, first, JOINED) as pixel:
                self._join(f.at(line, f.mul(pixel, self.plan.pixel_bytes)), f.at(source, pixel, kind))
        with f.loop(0, stored) as channel:
            exists = f.compare("slt", channel, g.channels)
            plane = f.value(f"select i1 {exists}, i64 {channel}, i64 0")
            with f.loop(first, count) as pixel:
                from_ = f.add(f.mul(plane, self.channel), f.mul(pixel, step))
                value = f.value(f"load {kind}, ptr {f.at(source, from_, kind)}, align {self.element}")
                value = f.value(f"select i1 {exists}, {kind} {value}, {kind} 0")
                to = f.at(line, f.add(f.mul(pixel, stored), channel), kind)
                f.line(f"store {kind} {value}, ptr {to}, align {self.element}")

    def _join(self, to: str, source: str) -> None:
        """`JOINED` pixels: each one integer, of its channels from the lowest bits upwards."""
        f, plan = self.f, self.plan
        bits = self.element * 8
        narrow, wide = f"<{JOINED} x i{bits}>", f"<{JOINED} x i{bits * plan.placed.channels}>"
        total = ""
        for channel in range(plan.g.channels):
            plane = f.at(source, f.mul(channel, self.channel), f"i{bits}")
            value = f.value(f"zext {narrow} {f.value(f'load {narrow}, ptr {plane}, align 1')} to {wide}")
            if channel:
                shift = f"splat (i{bits * plan.placed.channels} {bits * channel})"
                value = f.value(f"or {wide} {total}, {f.value(f'shl {wide} {value}, {shift}')}")
            total = value
        f.line(f"store {wide} {total}, ptr {to}, align 1")

    def _move(self, to: str, source: str, count: Size) -> None:
        """`count` bytes."""
        f = self.f

        def move(at: Size, mask: str | None) -> None:
            value = load_vector(f, CHUNK, dtypes.u8, f.at(source, at), mask)
            store_vector(f, CHUNK, dtypes.u8, f.at(to, at), value, mask)

        self._chunks(0, count, move)

    def _clear(self, line: str, first: Size, end: Size) -> None:
        """Zeros in bytes [first, end) of the line."""
        if first == end:
            return
        f = self.f
        self._chunks(
            first,
            end,
            lambda at, mask: store_vector(f, CHUNK, dtypes.u8, f.at(line, at), "zeroinitializer", mask),
        )

    def _chunks(self, first: Size, end: Size, emit: object) -> None:
        f = self.f
        count = f.sub(end, first)
        whole = f.add(first, f.mul(f.udiv(count, CHUNK), CHUNK))
        if whole != first:
            with f.loop(first, whole, CHUNK) as at:
                emit(at, None)  # type: ignore[operator]
        rest = f.sub(end, whole)
        if isinstance(rest, int):
            if rest:
                emit(whole, iota_below(f, CHUNK, rest))  # type: ignore[operator]
            return
        with f.when(f.compare("sgt", rest, 0)):
            emit(whole, iota_below(f, CHUNK, rest))  # type: ignore[operator]
