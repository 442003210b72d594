"""The multiply-add of a register tile: how one k group of A meets a vector of columns of B.

A k group is the elements that one instruction multiplies and adds for each column: one f32, two bf16, four bytes. In
panels of B the elements of a group lie side by side. Groups that a CPU cannot multiply are widened on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engineworks.codegen.llvm.function import Function, Isa
from engineworks.codegen.llvm.loads import load_vector, splat, widened
from engineworks.codegen.llvm.vector import storage_kind
from engineworks.core import dtypes
from engineworks.core.dtypes import DType

Form = Literal[
    "f32", "f16_weights", "bf16_weights", "byte_weights", "bf16_rows", "bf16_dot", "byte_dot", "i16_pairs"
]  # fmt: skip
"""f32: fused multiply-add. f16_weights, bf16_weights, byte_weights: f32 times narrow weights, which are widened when
they are loaded; bf16_rows: not in pairs, as they lie outside of panels.
bf16_dot: vdpbf16ps. byte_dot: vpdpbusd. i16_pairs: vpmaddwd or vpdpwssd, exact for bytes widened to i16.
"""


@dataclass(frozen=True, slots=True)
class Multiply:
    """One way to multiply.

    Attributes:
        left, right: dtypes of A and of the panels of B.
        group: k elements of a group.
        sums: dtype of the sums.
        cost: of a group's multiply-add of one vector, in fused multiply-adds; load_cost: of loading a vector of B
            beyond the load.
    """

    form: Form
    left: DType = dtypes.f32
    right: DType = dtypes.f32
    group: int = 1
    sums: DType = dtypes.f32
    cost: float = 1.0
    load_cost: float = 0.0

    @property
    def left_bytes(self) -> int:
        """Of a group in A."""
        return self.group * self.left.size_bytes

    @property
    def column_bytes(self) -> int:
        """Of a group in one column of B."""
        return self.group * self.right.size_bytes

    @property
    def flips_left(self) -> bool:
        """A's bytes are read with 128 added, because the instruction takes one unsigned operand: the sums must start
        at -128 times the sums of B's columns.
        """
        return self.form == "byte_dot" and self.left.name == self.right.name == "i8"

    def sum_type(self, isa: Isa) -> str:
        """LLVM's type of a vector of sums."""
        return f"<{isa.lanes} x {'float' if self.sums is dtypes.f32 else 'i32'}>"

    def add(self, f: Function, isa: Isa, a: str, b: str) -> str:
        """The sum of two vectors of sums."""
        return f.value(f"{'fadd' if self.sums is dtypes.f32 else 'add'} {self.sum_type(isa)} {a}, {b}")

    # -- operands ---------------------------------------------------------------------------------------------
    def columns(
        self, f: Function, isa: Isa, pointer: str, mask: str | None = None, align: int = 4
    ) -> tuple[str, ...]:
        """One vector of a k group of B: a part for each instruction that it takes part in."""
        if self.form == "f32":
            return (load_vector(f, isa.lanes, dtypes.f32, pointer, mask, align=align),)
        if self.form in ("f16_weights", "byte_weights", "bf16_rows"):
            value = load_vector(f, isa.lanes, self.right, pointer, mask)
            return (widened(f, isa.lanes, self.right, dtypes.f32, value),)
        assert mask is None, "panels are whole"
        words = f"<{isa.lanes} x i32>"
        value = f.value(f"load {words}, ptr {pointer}, align {align}")
        if self.form == "bf16_weights":
            halves = (f"shl {words} {value}, splat (i32 16)", f"and {words} {value}, splat (i32 -65536)")
            return tuple(
                f.value(f"bitcast {words} {f.value(half)} to <{isa.lanes} x float>") for half in halves
            )
        return (self._group(f, isa, value),)

    def element(self, f: Function, isa: Isa, pointer: str, valid: int | None = None) -> tuple[str, ...]:
        """A k group of one row of A in every lane, in parts as `columns` gives them.

        `valid`: elements that there are, fewer than a group at the end of the depth; what is behind is not read.
        """
        valid = self.group if valid is None else valid
        if self.left is dtypes.f32:
            values = [f.value(f"load float, ptr {f.at(pointer, 4 * k)}, align 4") for k in range(valid)]
            return tuple(splat(f, isa.lanes, "float", value) for value in values)
        word = splat(f, isa.lanes, "i32", self._word(f, pointer, valid))
        if self.flips_left:
            word = f.value(f"xor <{isa.lanes} x i32> {word}, splat (i32 -2139062144)")
        return (self._group(f, isa, word),)

    def _word(self, f: Function, pointer: str, valid: int) -> str:
        """Four bytes of A, zeros behind what is valid."""
        if valid == self.group:
            return f.value(f"load i32, ptr {pointer}, align {self.left.size_bytes}")
        bits = self.left.bits
        word = "0"
        for k in range(valid):
            at = f.at(pointer, k * self.left.size_bytes)
            part = f.value(f"zext i{bits} {f.value(f'load i{bits}, ptr {at}, align 1')} to i32")
            word = f.value(f"or i32 {word}, {f.value(f'shl i32 {part}, {k * bits}')}")
        return word

    def _group(self, f: Function, isa: Isa, words: str) -> str:
        kind = storage_kind(self.left)
        if kind == "i32":
            return words
        return f.value(f"bitcast <{isa.lanes} x i32> {words} to <{isa.lanes * self.group} x {kind}>")

    # -- the instruction --------------------------------------------------------------------------------------
    def multiply_add(self, f: Function, isa: Isa, total: str, left: str, right: str) -> str:
        """total + left * right, of parts of `element` and `columns`."""
        sums, bits = self.sum_type(isa), isa.vector_bits
        if self.sums is dtypes.f32 and self.form != "bf16_dot":
            operands = (f"{sums} {x}" for x in (left, right, total))
            return f.call(sums, f"llvm.fma.v{isa.lanes}f32", *operands)
        group = f"<{isa.lanes * self.group} x {storage_kind(self.left)}>"
        if self.form == "bf16_dot":
            f.require("avx512bf16")
            name = f"llvm.x86.avx512bf16.dpbf16ps.{bits}"
            return f.call(sums, name, f"{sums} {total}", f"{group} {left}", f"{group} {right}")
        if self.form == "byte_dot":
            f.require("avx512vnni" if isa.lanes == 16 else "avxvnni")
            first, second = (left, right) if self.right.name == "i8" else (right, left)
            name = f"llvm.x86.avx512.vpdpbusd.{bits}"
            return f.call(sums, name, f"{sums} {total}", f"{group} {first}", f"{group} {second}")
        if bits == 512 and isa.has("avx512vnni"):
            f.require("avx512vnni")
            name = "llvm.x86.avx512.vpdpwssd.512"
            return f.call(sums, name, f"{sums} {total}", f"{group} {left}", f"{group} {right}")
        name = "llvm.x86.avx512.pmaddw.d.512" if bits == 512 else "llvm.x86.avx2.pmadd.wd"
        return self.add(f, isa, total, f.call(sums, name, f"{group} {left}", f"{group} {right}"))


F32 = Multiply("f32")
F16_WEIGHTS = Multiply("f16_weights", right=dtypes.f16, load_cost=2.0)
BF16_ROWS = Multiply("bf16_rows", right=dtypes.bf16, load_cost=2.0)
BF16_WEIGHTS = Multiply("bf16_weights", right=dtypes.bf16, group=2, cost=2.0, load_cost=2.0)
BF16_DOT = Multiply("bf16_dot", dtypes.bf16, dtypes.bf16, 2, cost=2.0)
I16_PAIRS = Multiply("i16_pairs", dtypes.i16, dtypes.i16, 2, dtypes.i32, cost=2.0)


def multiplies(left: DType, right: DType, isa: Isa, *, right_constant: bool) -> tuple[Multiply, ...]:
    """The ways to multiply elements of `left` and `right`, those with the highest peak first; () for none.

    A and B must be widened to the dtypes of the `Multiply` on the way, B when it is packed.
    """
    integers = {"i8", "u8"}
    if left.name in integers and right.name in integers:
        dot = Multiply("byte_dot", left, right, 4, dtypes.i32)
        has = isa.has("avx512vnni" if isa.lanes == 16 else "avxvnni")
        takes = left is not right or (left.name == "i8" and right_constant)
        return (dot, I16_PAIRS) if has and takes else (I16_PAIRS,)
    if left is dtypes.f32 and right.name in integers and right_constant:
        return (Multiply("byte_weights", right=right, load_cost=2.0),)
    if {left.name, right.name} & integers:
        return (F32,) if dtypes.f32 in (left, right) else ()
    narrow = {"f16", "bf16", "f32"}
    if left.name not in narrow or right.name not in narrow:
        return ()
    found: list[Multiply] = []
    if left is right is dtypes.bf16 and isa.lanes == 16 and isa.has("avx512bf16"):
        found.append(BF16_DOT)
    found.append(F32)
    if right is dtypes.bf16:
        found.append(BF16_WEIGHTS)
    if right is dtypes.f16:
        found.append(F16_WEIGHTS)
    return tuple(found)
