"""Loads and stores of vectors: contiguous, strided and scattered, whole and masked."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import keep_width
from engineworks.codegen.llvm.vector import BITS, Vector, storage_kind, vector_type
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType


def _kind(dtype: DType) -> str:
    """Element type of memory; bf16 is moved as i16 (casts.encode says why)."""
    return "i16" if dtype.name == "bf16" else storage_kind(dtype)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the elements of some lanes lie: `pointer` plus lane * `step` elements, or plus `step[lane]`."""

    operand: int
    pointer: str
    step: Size | Vector


class Memory:
    """The buffers of one kernel. Operands count from 0, outputs from -1 downwards."""

    def __init__(
        self,
        f: Function,
        isa: Isa,
        operands: tuple[TensorType, ...],
        outputs: tuple[TensorType, ...],
        bases: dict[int, str],
    ) -> None:
        self.f, self.isa = f, isa
        self._types = {k: t.dtype for k, t in enumerate(operands)} | {
            -1 - k: t.dtype for k, t in enumerate(outputs)
        }
        self._bases = bases
        self._spare: str | None = None

    def base(self, operand: int) -> str:
        """Address of a buffer's first element."""
        return self._bases[operand]

    def at(self, operand: int, pointer: str, offset: Size) -> str:
        """pointer + offset elements of the operand's dtype."""
        return pointer if offset == 0 else self._moved(operand, pointer, f"i64 {offset}")

    def _moved(self, operand: int, pointer: str, offset: str) -> str:
        return self.f.value(f"getelementptr {_kind(self._types[operand])}, ptr {pointer}, {offset}")

    # -- loads (in register form) -----------------------------------------------------------------------------
    def load_one(self, place: Place, dtype: DType, guard: Vector | None) -> Vector:
        """One element; where `guard` is false, any value, and the memory is not touched."""
        pointer = place.pointer if guard is None else self._guarded(place.pointer, guard)
        return self._plain(pointer, dtype, 1)

    def load(
        self, place: Place, dtype: DType, lanes: int, mask: Vector | None, condition: Vector | None
    ) -> Vector:
        """One element a lane; only the lanes of `mask`, and only if the scalar `condition` holds, touch memory."""
        if lanes == 1:
            both = mask if condition is None else condition if mask is None else condition & mask
            pointer = self._lane(place, 0)
            return self.load_one(Place(place.operand, pointer, 1), dtype, both)
        if isinstance(place.step, int) and place.step == 1:
            pointer = place.pointer if condition is None else self._guarded(place.pointer, condition)
            return self._plain(pointer, dtype, lanes) if mask is None else self._masked(pointer, dtype, mask)
        if condition is not None:
            lanes_of = Vector(self.f, self.isa, "i1", lanes, mask.name if mask else self._ones(lanes))
            text = f"select i1 {condition.name}, {lanes_of.type} {lanes_of.name}, {lanes_of.type} zeroinitializer"
            mask = lanes_of.of(self.f.value(text))
        if self.isa.name == "avx512" and BITS[_kind(dtype)] >= 32:
            return self._gather(place, dtype, lanes, mask)
        return self._by_lane(place, dtype, lanes, mask)

    def _plain(self, pointer: str, dtype: DType, lanes: int) -> Vector:
        kind = _kind(dtype)
        text = f"load {vector_type(kind, lanes)}, ptr {pointer}, align {dtype.size_bytes}"
        return self._as_register(Vector(self.f, self.isa, kind, lanes, self.f.value(text)), dtype)

    def raw(self, pointer: str, dtype: DType, lanes: int) -> Vector:
        """Contiguous elements as plain bits that any shuffle handles; `from_raw` makes them register form."""
        bits = f"i{dtype.size_bytes * 8}"
        kind = bits if dtype.size_bytes < 4 else _kind(dtype)
        text = f"load {vector_type(kind, lanes)}, ptr {pointer}, align {dtype.size_bytes}"
        return Vector(self.f, self.isa, kind, lanes, self.f.value(text))

    def from_raw(self, value: Vector, dtype: DType) -> Vector:
        """Register form of what `raw` loaded."""
        return self._as_register(value.bits(_kind(dtype)), dtype)

    def _as_register(self, value: Vector, dtype: DType) -> Vector:
        return value.compare("ne", 0) if dtype.kind == "bool" else value

    def _masked(self, pointer: str, dtype: DType, mask: Vector) -> Vector:
        blank = Vector(self.f, self.isa, _kind(dtype), mask.lanes, "")
        name = self.f.call(blank.type, f"llvm.masked.load.{blank.suffix}.p0", f"ptr align {dtype.size_bytes} {pointer}",
                           f"{mask.type} {mask.name}", f"{blank.type} zeroinitializer")  # fmt: skip
        return self._as_register(blank.of(name), dtype)

    def _gather(self, place: Place, dtype: DType, lanes: int, mask: Vector | None) -> Vector:
        blank = Vector(self.f, self.isa, _kind(dtype), lanes, "")
        name = self.f.call(
            blank.type, f"llvm.masked.gather.{blank.suffix}.v{lanes}p0",
            f"<{lanes} x ptr> align {dtype.size_bytes} {self._pointers(place, blank)}",
            f"<{lanes} x i1> {mask.name if mask else self._ones(lanes)}", f"{blank.type} zeroinitializer",
        )  # fmt: skip
        return self._as_register(blank.of(name), dtype)

    def _by_lane(self, place: Place, dtype: DType, lanes: int, mask: Vector | None) -> Vector:
        blank = Vector(self.f, self.isa, _kind(dtype), lanes, "poison")
        value = blank
        for lane in range(lanes):
            pointer = self._lane(place, lane)
            if mask is not None:
                pointer = self._guarded(pointer, _element(mask, lane))
            one = self.f.value(f"load {blank.kind}, ptr {pointer}, align {dtype.size_bytes}")
            value = value.of(
                self.f.value(f"insertelement {blank.type} {value.name}, {blank.kind} {one}, i32 {lane}")
            )
        return self._as_register(value, dtype)

    # -- stores -----------------------------------------------------------------------------------------------
    def store(self, place: Place, dtype: DType, value: Vector, mask: Vector | None) -> None:
        """Write register-form values to the lanes of `mask`."""
        if dtype.kind == "bool":
            value = value.convert("zext", "i8")
        f, aligned = self.f, f"align {dtype.size_bytes}"
        contiguous = isinstance(place.step, int) and place.step == 1
        if mask is None and (contiguous or value.lanes == 1):
            f.line(f"store {value.type} {value.name}, ptr {self._lane(place, 0)}, {aligned}")
        elif contiguous and value.lanes > 1:
            f.call("void", f"llvm.masked.store.{value.suffix}.p0", f"{value.type} {value.name}",
                   # pyrefly: ignore[missing-attribute]
                   f"ptr {aligned} {place.pointer}", f"{mask.type} {mask.name}")  # fmt: skip
            keep_width(f, value.kind, f"{value.type} {value.name}")
        else:
            for lane in range(value.lanes):
                one, pointer = _element(value, lane), self._lane(place, lane)
                if mask is not None:
                    pointer = self._guarded(pointer, _element(mask, lane))
                f.line(f"store {one.type} {one.name}, ptr {pointer}, {aligned}")

    # -- addresses --------------------------------------------------------------------------------------------
    def _lane(self, place: Place, lane: int) -> str:
        if isinstance(place.step, Vector):
            step = _element(place.step, lane)
            return self._moved(place.operand, place.pointer, f"{step.kind} {step.name}")
        return self.at(place.operand, place.pointer, self.f.mul(lane, place.step))

    def _pointers(self, place: Place, blank: Vector) -> str:
        if isinstance(place.step, Vector):
            steps = f"{place.step.type} {place.step.name}"
        elif isinstance(place.step, int):
            # 32-bit constants let one gather instruction do all lanes of an f32 vector.
            small = abs(place.step) * blank.lanes < 1 << 28
            kind = "i32" if small else "i64"
            steps = (
                f"<{blank.lanes} x {kind}> <"
                + ", ".join(f"{kind} {k * place.step}" for k in range(blank.lanes))
                + ">"
            )
        else:
            wide = f"<{blank.lanes} x i64>"
            first = self.f.value(f"insertelement {wide} poison, i64 {place.step}, i32 0")
            every = self.f.value(
                f"shufflevector {wide} {first}, {wide} poison, <{blank.lanes} x i32> zeroinitializer"
            )
            ramp = "<" + ", ".join(f"i64 {k}" for k in range(blank.lanes)) + ">"
            steps = f"{wide} {self.f.value(f'mul {wide} {every}, {ramp}')}"
        return self.f.value(f"getelementptr {blank.kind}, ptr {place.pointer}, {steps}")

    def _guarded(self, pointer: str, condition: Vector) -> str:
        """The pointer, or memory of our own where the condition is false: cheaper than a branch."""
        if self._spare is None:
            self._spare = self.f.variable("[64 x i64]")
        return self.f.value(f"select i1 {condition.name}, ptr {pointer}, ptr {self._spare}")

    def _ones(self, lanes: int) -> str:
        return "splat (i1 true)" if lanes > 1 else "true"


def _element(value: Vector, lane: int) -> Vector:
    if value.lanes == 1:
        return value
    name = value.f.value(f"extractelement {value.type} {value.name}, i32 {lane}")
    return Vector(value.f, value.isa, value.kind, 1, name)
