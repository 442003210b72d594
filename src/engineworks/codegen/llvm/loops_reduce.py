"""Accumulators of the monoids: one vector of partial results each, merged and then folded across their lanes."""

from __future__ import annotations

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Function, Isa
from engineworks.codegen.llvm.prims import EMIT
from engineworks.codegen.llvm.vector import Vector, compute_kind, vector_type
from engineworks.core.dtypes import DType
from engineworks.ir.kernel import MonoidName

_COMBINE = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}


def identity(monoid: MonoidName, dtype: DType) -> bool | int | float:
    """The element that changes nothing; for arg* the least favoured value."""
    match monoid:
        case "sum" | "any":
            return 0
        case "prod" | "all":
            return 1
    greatest = monoid.startswith(("max", "argmax"))
    if dtype.is_float:
        return float("-inf") if greatest else float("inf")
    if dtype.kind == "bool":
        return not greatest
    low, high = (
        (-(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1)
        if dtype.kind == "int"
        else (0, (1 << dtype.bits) - 1)
    )
    return low if greatest else high


class Accumulator:
    """Partial results of one reduction on some lanes, in variables of the function.

    Sums and products of narrow floats stay in f32 until `result`.
    """

    def __init__(self, f: Function, isa: Isa, monoid: MonoidName, dtype: DType, lanes: int) -> None:
        self.f, self.monoid, self.dtype = f, monoid, dtype
        self.blank = Vector(f, isa, compute_kind(dtype), lanes, "")
        self._value = f.variable(self.blank.type, self.blank.splat(identity(monoid, dtype)).name)
        self.has_position = monoid.startswith("arg")
        self._places = Vector(f, isa, "i64", lanes, "")
        # -1 marks "nothing seen yet": any element beats it, even one equal to the identity.
        self._place = f.variable(self._places.type, self._places.splat(-1).name) if self.has_position else ""

    def reset(self) -> None:
        """Back to the identity."""
        self.f.set(self.blank.type, self._value, self.blank.splat(identity(self.monoid, self.dtype)).name)

    def get(self) -> Vector:
        return self.blank.of(self.f.get(self.blank.type, self._value))

    def place(self) -> Vector:
        return self._places.of(self.f.get(self._places.type, self._place))

    def add(self, value: Vector, position: Vector | None, mask: Vector | None) -> None:
        """Fold in one value for each lane; lanes outside `mask` keep what they have."""
        if self.has_position:
            assert position is not None, "arg monoids need the element's position"
            self._add_place(value, position, mask)
            return
        if mask is not None:
            value = mask.choose(value, value.splat(identity(self.monoid, self.dtype)))
        self.f.set(self.blank.type, self._value, self._combined(self.get(), value).name)

    def _combined(self, a: Vector, b: Vector) -> Vector:
        return EMIT[_COMBINE[self.monoid]](self.dtype, a, b)

    def _add_place(self, value: Vector, position: Vector, mask: Vector | None) -> None:
        best, place = self.get(), self.place()
        better = self._beats(value, position, best, place)
        if mask is not None:
            better = better & mask
        self.f.set(self.blank.type, self._value, better.choose(value, best).name)
        self.f.set(self._places.type, self._place, better.choose(position, place).name)

    def _beats(self, value: Vector, position: Vector, best: Vector, place: Vector) -> Vector:
        """Lanes where (value, position) replaces (best, place): NaN beats all, then the extreme, then the place."""
        relation = "gt" if self.monoid.startswith("argmax") else "lt"
        if value.is_float:
            nan, was_nan = value.compare("uno", value), best.compare("uno", best)
            ahead = value.compare("o" + relation, best) & (was_nan ^ 1) | (nan & (was_nan ^ 1))
            level = value.compare("oeq", best) | (nan & was_nan)
        else:
            ahead = value.compare(("s" if self.dtype.kind == "int" else "u") + relation, best)
            level = value.compare("eq", best)
        nearer = position.compare("slt" if self.monoid.endswith("first") else "sgt", place)
        return ahead | (level & nearer) | place.compare("slt", 0)

    def merge(self, other: Accumulator) -> None:
        """Fold in another accumulator of as many lanes."""
        self.add(other.get(), *self._other_place(other))

    def _other_place(self, other: Accumulator) -> tuple[Vector | None, Vector | None]:
        if not self.has_position:
            return None, None
        place = other.place()
        return place, place.compare("sge", 0)

    def folded(self) -> Accumulator:
        """One lane with the result of all lanes."""
        current: Accumulator = self
        while current.blank.lanes > 1:
            half = current.blank.lanes // 2
            low, high = current._half(0, half), current._half(half, half)
            low.merge(high)
            current = low
        return current

    def _half(self, start: int, count: int) -> Accumulator:
        part = Accumulator(self.f, self.blank.isa, self.monoid, self.dtype, count)
        self.f.set(part.blank.type, part._value, _lanes_of(self.get(), start, count))
        if self.has_position:
            self.f.set(part._places.type, part._place, _lanes_of(self.place(), start, count))
        return part

    def result(self, dtype: DType) -> Vector:
        """The value in compute form: rounded to `dtype`, or the position."""
        return self.place() if self.has_position else casts.round_to(dtype, self.get())


def _lanes_of(value: Vector, start: int, count: int) -> str:
    """`count` lanes from `start` on."""
    f = value.f
    if count == 1:
        return f.value(f"extractelement {value.type} {value.name}, i32 {start}")
    picks = ", ".join(f"i32 {start + k}" for k in range(count))
    return f.value(
        f"shufflevector {value.type} {value.name}, {value.type} poison, {vector_type('i32', count)} <{picks}>"
    )
