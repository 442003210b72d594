"""Sorting inside kernels: elements as integers that order as they do, and a stable radix sort of keys with payloads."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm.function import Size
from engineworks.codegen.llvm.vector import constant, vector_type
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.native import KernelBuilder

DIGIT_BITS = 8
SMALL = 32
"""Up to so many elements insertion beats counting."""
_LARGEST_FINITE_ABOVE = {
    "f64": 0x7FF0 << 48,
    "f32": 0x7F800000,
    "f16": 0x7C00,
    "bf16": 0x7F80,
    "f8e4m3": 0x7E,
    "f8e5m2": 0x7C,
}
"""Magnitudes above are NaN."""


def ordered_key(k: KernelBuilder, dtype: DType, raw: str, *, descending: bool = False, lanes: int = 1) -> str:
    """The element's bits as an integer of its width whose unsigned order is the element's: NaN last, -0 as 0.

    Args:
        raw: one integer, or a vector of `lanes`.
        descending: the reverse order.
    Raises:
        NoTactic: a float without -0, whose codes order otherwise.
    """
    if dtype.is_float and dtype.name not in _LARGEST_FINITE_ABOVE:
        raise NoTactic(f"{dtype} is not sorted; cast to f16 before")
    f, bits = k.f, dtype.size_bytes * 8
    kind, sign = vector_type(f"i{bits}", lanes), 1 << (bits - 1)

    def number(value: int) -> str:
        return constant(f"i{bits}", lanes, value)

    def choose(condition: str, yes: str, no: str) -> str:
        return f.value(f"select {vector_type('i1', lanes)} {condition}, {kind} {yes}, {kind} {no}")

    key = raw
    if dtype.kind == "int":
        key = f.value(f"xor {kind} {raw}, {number(-sign)}")
    elif dtype.is_float:
        size = f.value(f"and {kind} {raw}, {number(sign - 1)}")
        plain = choose(f.value(f"icmp eq {kind} {size}, {number(0)}"), number(0), raw)
        spread = f.value(f"ashr {kind} {plain}, {number(bits - 1)}")
        ordered = f.value(f"xor {kind} {plain}, {f.value(f'or {kind} {spread}, {number(-sign)}')}")
        is_nan = f.value(f"icmp ugt {kind} {size}, {number(_LARGEST_FINITE_ABOVE[dtype.name])}")
        key = choose(is_nan, number(-1), ordered)
    return f.value(f"xor {kind} {key}, {number(-1)}") if descending else key


def as_i64(k: KernelBuilder, dtype: DType, key: str) -> str:
    """The key widened without a sign."""
    return key if dtype.size_bytes == 8 else k.f.value(f"zext i{dtype.size_bytes * 8} {key} to i64")


def sort_bytes(count: Dim) -> Dim:
    """Memory that `Sorter` needs for up to `count` elements."""
    return count * 32 + (1 << DIGIT_BITS) * 8


@dataclass(slots=True)
class Sorter:
    """A stable ascending sort of (unsigned key, payload) pairs of i64 in `memory`.

    Fill `keys` and `payloads`, call `sort`, then read `sorted_keys()` and `sorted_payloads()`.
    """

    k: KernelBuilder
    memory: str
    capacity: Size
    keys: str = ""
    payloads: str = ""
    _spare: tuple[str, str] = ("", "")
    _counts: str = ""
    _current: tuple[str, str, str, str] = ("", "", "", "")

    def __post_init__(self) -> None:
        f = self.k.f
        self._counts = self.memory
        base = f.at(self.memory, (1 << DIGIT_BITS) * 8)
        parts = [f.at(base, f.mul(self.capacity, 8 * part)) for part in range(4)]
        self.keys, self.payloads = parts[:2]
        self._spare = (parts[2], parts[3])

    def sort(self, count: Size, bits: int) -> None:
        """Sort the first `count` pairs by the low `bits` of their keys."""
        f = self.k.f
        names = (self.keys, self.payloads, *self._spare)
        if not self._current[0]:
            self._current = tuple(f.variable("ptr") for _ in names)  # type: ignore[assignment]
        for variable, name in zip(self._current, names, strict=True):
            f.set("ptr", variable, name)
        f.branch(
            f.compare("sle", count, SMALL), lambda: self._insert(count), lambda: self._by_digits(count, bits)
        )

    def sorted_keys(self) -> str:
        return self.k.f.get("ptr", self._current[0])

    def sorted_payloads(self) -> str:
        return self.k.f.get("ptr", self._current[1])

    def _insert(self, count: Size) -> None:
        k, f = self.k, self.k.f
        place = f.variable("i64")
        with f.loop(1, count) as i:
            key, payload = k.load("i64", self.keys, i), k.load("i64", self.payloads, i)
            f.set("i64", place, i)
            with k.repeat_while() as loop:
                at = f.get("i64", place)
                loop.leave_unless(f.compare("sgt", at, 0))
                before = f.add(at, -1)
                other = k.load("i64", self.keys, before)
                loop.leave_unless(f.compare("ugt", other, key))
                k.store("i64", other, self.keys, at)
                k.store("i64", k.load("i64", self.payloads, before), self.payloads, at)
                f.set("i64", place, before)
            at = f.get("i64", place)
            k.store("i64", key, self.keys, at)
            k.store("i64", payload, self.payloads, at)

    def _by_digits(self, count: Size, bits: int) -> None:
        f = self.k.f
        with f.loop(0, bits, DIGIT_BITS) as shift:
            self._count_digits(count, shift)
            first = self._digit(self.k.load("i64", f.get("ptr", self._current[0])), shift)
            same = f.compare("eq", self.k.load("i64", self._counts, first), count)
            with f.when(f.value(f"xor i1 {same}, true")):
                self._distribute(count, shift)

    def _digit(self, key: str, shift: str) -> str:
        return self.k.f.value(
            f"and i64 {self.k.f.value(f'lshr i64 {key}, {shift}')}, {(1 << DIGIT_BITS) - 1}"
        )

    def _count_digits(self, count: Size, shift: str) -> None:
        k, f = self.k, self.k.f
        with f.loop(0, 1 << DIGIT_BITS) as digit:
            k.store("i64", 0, self._counts, digit)
        keys = f.get("ptr", self._current[0])
        with f.loop(0, count) as i:
            digit = self._digit(k.load("i64", keys, i), shift)
            k.store("i64", f.add(k.load("i64", self._counts, digit), 1), self._counts, digit)

    def _distribute(self, count: Size, shift: str) -> None:
        """Counts become first places, elements go to them, and the two halves of the memory swap."""
        k, f = self.k, self.k.f
        total = f.variable("i64", 0)
        with f.loop(0, 1 << DIGIT_BITS) as digit:
            held, here = k.load("i64", self._counts, digit), f.get("i64", total)
            k.store("i64", here, self._counts, digit)
            f.set("i64", total, f.add(here, held))
        keys, payloads, to_keys, to_payloads = (f.get("ptr", v) for v in self._current)
        with f.loop(0, count) as i:
            key = k.load("i64", keys, i)
            digit = self._digit(key, shift)
            place = k.load("i64", self._counts, digit)
            k.store("i64", key, to_keys, place)
            k.store("i64", k.load("i64", payloads, i), to_payloads, place)
            k.store("i64", f.add(place, 1), self._counts, digit)
        for variable, name in zip(self._current, (to_keys, to_payloads, keys, payloads), strict=True):
            f.set("ptr", variable, name)
