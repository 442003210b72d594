"""The copy of x that tiles read: rows sorted by the phase of the stride, each with its zeros, widened where asked."""

from __future__ import annotations

from collections.abc import Callable

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.codegen.llvm.vector import Vector, register_kind, storage_kind
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.kernels.cpu.conv_positions import PositionsPlan, shared_columns
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Word

SLACK = 64
"""Zeros behind an image."""
JOINED = 16
"""Pixels of planes joined at once."""


def stage_rows(parts: ImageParts, source: TensorType, plan: PositionsPlan, isa: Isa) -> Word:
    """Append the copying step; a task is one stored row."""
    placed, g = plan.placed, plan.g
    buffer = parts.buffer(placed.image_bytes * g.batch)
    f = Function("stage_rows")
    arguments = Words(f)
    copy = RowCopy(f, isa, source, plan, arguments)
    target = arguments.pointer(buffer)
    depths, rows = arguments.sizes((placed.depth.whole, placed.height.whole))
    image_bytes = arguments.size(placed.image_bytes)
    with f.loop("%lo", "%hi") as task:
        row, depth = f.urem(task, rows), f.urem(f.udiv(task, rows), depths)
        image = f.udiv(task, f.mul(rows, depths))
        copy.row(f.at(target, f.mul(image, image_bytes)), image, depth, row)
    tasks: Dim = g.batch * placed.depth.whole * placed.height.whole
    parts.step("conv_stage_rows", f, arguments, tasks)
    return buffer


class RowCopy:
    """Copies rows of x to where a plan stores them, while a kernel is emitted; ask for it in the entry block."""

    def __init__(
        self, f: Function, isa: Isa, source: TensorType, plan: PositionsPlan, arguments: Words
    ) -> None:
        self.f, self.isa, self.plan, self.element = f, isa, plan, plan.x.size_bytes
        self.chunk = isa.vector_bits // 8
        g, placed = plan.g, plan.placed
        self.x = arguments.pointer(Input(0))
        self.old, self.before = arguments.sizes(g.size), arguments.sizes(g.before)
        self.sizes = arguments.sizes((placed.depth.size, placed.height.size))
        self.whole = arguments.sizes((placed.depth.whole, placed.height.whole))
        self.row_bytes, self.plane_bytes = arguments.sizes((placed.row_bytes, placed.plane_bytes))
        self.across = arguments.size(g.out[2])
        strides = source.strides()
        spatial = (*[0] * (3 - len(strides[2:])), *strides[2:])
        self.image, self.channel, *self.steps = arguments.sizes((strides[0], strides[1], *spatial))

    def row(self, target: str, image: Size, depth: Size, row: Size, first_row: Size = 0) -> None:
        """Stored row `row` of stored depth `depth`; `target` holds an image, or its outputs from `first_row` on."""
        f, g = self.f, self.plan.g
        line = f.at(target, f.add(f.mul(depth, self.plane_bytes), f.mul(row, self.row_bytes)))
        old = [self._source(depth, 0), f.add(self._source(row, 1), f.mul(first_row, g.strides[1]))]
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
        behind = shared_columns(g) * self.plan.pixel_bytes + SLACK
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
        columns = f.udiv(self.row_bytes, pixel)
        lead = f.smin(f.smax(self.before[2], 0), columns)
        skipped = f.smax(f.sub(0, self.before[2]), 0)
        count = f.smax(f.smin(f.sub(self.old[2], skipped), f.sub(columns, lead)), 0)
        start = f.mul(lead, pixel)
        self._clear(line, 0, start)
        from_ = f.at(source, f.mul(f.mul(skipped, self.steps[2]), self.element))
        self._pixels(f.at(line, start), from_, count, self.steps[2])
        self._clear(line, f.add(start, f.mul(count, pixel)), self.row_bytes)

    def _pixels(self, line: str, source: str, count: Size, step: Size) -> None:
        """`count` pixels that lie `step` elements apart."""
        f, g = self.f, self.plan.g
        if self.channel != 1 and g.channels > 1:
            self._elements(line, source, count, step)
        elif step == g.channels:
            self._move(line, source, f.mul(count, g.channels))
        else:
            with f.loop(0, count) as pixel:
                to = f.at(line, f.mul(pixel, self.plan.pixel_bytes))
                self._move(to, f.at(source, f.mul(pixel, f.mul(step, self.element))), g.channels)

    def _elements(self, line: str, source: str, count: Size, step: Size) -> None:
        """Channels lie apart: two to four planes are joined in registers, others go element by element."""
        f, plan = self.f, self.plan
        first: Size = 0
        stored, from_kind = plan.placed.channels, storage_kind(plan.x)
        if step == 1 and stored in (2, 4) and plan.x is plan.product.left and self.isa.lanes == JOINED:
            first = f.mul(f.udiv(count, JOINED), JOINED)
            with f.loop(0, first, JOINED) as pixel:
                self._join(f.at(line, f.mul(pixel, plan.pixel_bytes)), f.at(source, pixel, from_kind))
        for channel in range(plan.g.channels):
            plane = f.at(source, f.mul(channel, self.channel), from_kind)
            with f.loop(first, count) as pixel:
                self._convert(
                    f.at(line, f.add(f.mul(pixel, plan.pixel_bytes), channel * plan.element_bytes)),
                    f.at(plane, f.mul(pixel, step), from_kind), 1, None,
                )  # fmt: skip
        for channel in range(plan.g.channels, stored):
            with f.loop(first, count) as pixel:
                at = f.add(f.mul(pixel, plan.pixel_bytes), channel * plan.element_bytes)
                f.line(f"store i{plan.element_bytes * 8} 0, ptr {f.at(line, at)}, align 1")

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
        if plan.flipped:
            total = f.value(
                f"xor {wide} {total}, bitcast (<{JOINED * plan.placed.channels} x i8> splat (i8 -128) to {wide})"
            )
        f.line(f"store {wide} {total}, ptr {to}, align 1")

    def _move(self, to: str, source: str, count: Size) -> None:
        """`count` elements, widened."""
        f, plan = self.f, self.plan
        if plan.x is not plan.product.left:
            lanes = self.isa.lanes

            def widen(at: Size, mask: str | None) -> None:
                there = f.at(to, f.mul(at, plan.element_bytes))
                self._convert(there, f.at(source, f.mul(at, self.element)), lanes, mask)

            self._chunks(0, count, lanes, widen)
            return

        def move(at: Size, mask: str | None) -> None:
            value = load_vector(f, self.chunk, dtypes.u8, f.at(source, at), mask)
            if plan.flipped:
                value = f.value(f"xor <{self.chunk} x i8> {value}, splat (i8 -128)")
            store_vector(f, self.chunk, dtypes.u8, f.at(to, at), value, mask)

        self._chunks(0, f.mul(count, self.element), self.chunk, move)

    def _convert(self, to: str, source: str, lanes: int, mask: str | None) -> None:
        """`lanes` elements of x as what is multiplied."""
        f, x, left = self.f, self.plan.x, self.plan.product.left
        kind = register_kind(x)
        if lanes == 1:
            moved = "i16" if x.name == "bf16" else storage_kind(x)
            value = f.value(f"load {moved}, ptr {source}, align {self.element}")
            if x.name == "bf16":
                value = f.value(f"bitcast i16 {value} to bfloat")
        else:
            value = load_vector(f, lanes, x, source, mask)
        wide = casts.cast(casts.decode(x, Vector(f, self.isa, kind, lanes, value)), x, left)
        register = casts.encode(left, wide)
        if self.plan.flipped:
            register = register ^ -128
        if lanes == 1:
            f.line(f"store {register.kind} {register.name}, ptr {to}, align {left.size_bytes}")
        elif left.name == "bf16":
            store_vector(f, lanes, left, to, register.bits("bfloat").name, mask)
        else:
            store_vector(f, lanes, left, to, register.name, mask)

    def _clear(self, line: str, first: Size, end: Size) -> None:
        """Zeros in bytes [first, end) of the line."""
        if first == end:
            return
        f, chunk = self.f, self.chunk
        zeros = "splat (i8 -128)" if self.plan.flipped else "zeroinitializer"
        self._chunks(
            first,
            end,
            chunk,
            lambda at, mask: store_vector(f, chunk, dtypes.u8, f.at(line, at), zeros, mask),
        )

    def _chunks(self, first: Size, end: Size, size: int, emit: Callable[[Size, str | None], None]) -> None:
        """emit(offset, mask) over [first, end): whole chunks, then what is left."""
        f = self.f
        whole = f.add(first, f.mul(f.udiv(f.sub(end, first), size), size))
        if whole != first:
            with f.loop(first, whole, size) as at:
                emit(at, None)
        rest = f.sub(end, whole)
        if isinstance(rest, int):
            if rest:
                emit(whole, iota_below(f, size, rest))
            return
        with f.when(f.compare("sgt", rest, 0)):
            emit(whole, iota_below(f, size, rest))
