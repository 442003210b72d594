"""A builder for one LLVM function as text: SSA values are strings, mutable variables are allocas (SROA makes phis).

Sizes and offsets are `Size = int | str`: a Python int is a constant known at build, a string is an i64 SSA value.
Arithmetic on two ints folds in Python, so one emitter serves static and dynamic shapes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

Size = int | str
"""An i64: a constant, or the name of an SSA value such as '%v12'."""

KERNEL_PARAMETERS = (("ptr noalias", "args"), ("i64", "lo"), ("i64", "hi"), ("ptr noalias", "scratch"))
"""The one signature of every kernel (docs/reference/kernel-abi.md)."""


@dataclass(frozen=True, slots=True)
class Isa:
    """What vector code is generated for.

    Attributes:
        name: 'avx512' or 'avx2'.
        lanes: f32 elements of one vector register.
        registers: vector registers.
        cpu: LLVM's CPU name for scheduling.
        features: LLVM's feature string: what all generated code may use.
        extras: features beyond the level that the target has too (`core.target.EXTRAS`). A function that uses one says
            so (`Function.require`), and an engine asks for what its functions said.
    """

    name: str
    lanes: int
    registers: int
    cpu: str
    features: str
    extras: frozenset[str] = frozenset()

    def has(self, *features: str) -> bool:
        """The target has all of these extras."""
        return self.extras.issuperset(features)

    def with_extras(self, *features: str) -> Isa:
        """The same level on a target that has these extras too."""
        return replace(self, extras=self.extras.union(features))

    @property
    def base(self) -> Isa:
        """The level alone: what code that requires no extras depends on."""
        return replace(self, extras=frozenset())

    @property
    def vector_bits(self) -> int:
        return self.lanes * 32


_AVX2_FEATURES = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt"
_AVX512_FEATURES = f"{_AVX2_FEATURES},+avx512f,+avx512bw,+avx512vl,+avx512dq,+avx512cd"
AVX2 = Isa("avx2", 8, 16, "haswell", _AVX2_FEATURES)
AVX512 = Isa("avx512", 16, 32, "skylake-avx512", _AVX512_FEATURES)


_NEEDS = "; needs "


def required_features(text: str) -> tuple[str, ...]:
    """CPU features beyond the level that the functions of a module said they use (`Function.require`), sorted."""
    said = (line.removeprefix(_NEEDS) for line in text.splitlines() if line.startswith(_NEEDS))
    return tuple(sorted({feature for line in said for feature in line.split(",")}))


def f32_constant(x: float) -> str:
    """The exact LLVM spelling of the f32 nearest to x (LLVM writes floats as 64-bit hex)."""
    with_f32_rounding = struct.unpack("<f", struct.pack("<f", x))[0] if abs(x) < 3.5e38 or x != x else x
    return f"0x{struct.unpack('<Q', struct.pack('<d', with_f32_rounding))[0]:016X}"


def f64_constant(x: float) -> str:
    """The exact LLVM spelling of an f64."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"


class Function:
    """Text of one function under construction.

    Args:
        name: symbol.
        parameters: (type, name) pairs; the kernel signature unless given.
        result: LLVM return type.
        internal: not exported from the object.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]] = KERNEL_PARAMETERS,
        result: str = "void",
        *,
        internal: bool = False,
    ) -> None:
        self.name = name
        self.declarations: set[str] = set()
        self._required: set[str] = set()
        self._count = 0
        self._body: list[str] = []
        self._allocas: list[str] = []
        arguments = ", ".join(f"{t} %{n}" for t, n in parameters)
        self._head = f"define {'internal ' if internal else ''}{result} @{name}({arguments}) #0 {{\nentry:\n"
        self._return = "ret void" if result == "void" else None

    # -- raw text ---------------------------------------------------------------------------------------------
    def value(self, text: str) -> str:
        """Append `%new = text` and return the new name."""
        self._count += 1
        name = f"%v{self._count}"
        self._body.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        """Append an instruction without a result."""
        self._body.append("  " + text)

    def label(self, name: str) -> None:
        self._body.append(f"{name}:")

    def fresh(self, prefix: str = "L") -> str:
        """A label or name not used before."""
        self._count += 1
        return f"{prefix}{self._count}"

    def declare(self, text: str) -> None:
        """An external declaration the module needs, such as 'declare float @llvm.sqrt.f32(float)'."""
        self.declarations.add(text)

    def require(self, *features: str) -> None:
        """Say that this code uses CPU features beyond its level, such as 'amx-int8' (`core.target.EXTRAS`)."""
        self._required.update(features)

    def call(self, result: str, callee: str, *arguments: str) -> str:
        """Call `callee` (declared on the way) with 'type value' arguments; the result's name ('' for void)."""
        types = ", ".join(_type_of(a) for a in arguments)
        self.declare(f"declare {result} @{callee}({types})")
        text = f"call {result} @{callee}({', '.join(arguments)})"
        if result == "void":
            self.line(text)
            return ""
        return self.value(text)

    # -- variables --------------------------------------------------------------------------------------------
    def variable(self, kind: str, initial: str | int | None = None) -> str:
        """An alloca in the entry block; SROA turns it into registers."""
        self._count += 1
        name = f"%a{self._count}"
        self._allocas.append(f"  {name} = alloca {kind}, align 64")
        if initial is not None:
            self.line(f"store {kind} {initial}, ptr {name}")
        return name

    def get(self, kind: str, variable: str) -> str:
        return self.value(f"load {kind}, ptr {variable}")

    def set(self, kind: str, variable: str, value: str | int) -> None:
        self.line(f"store {kind} {value}, ptr {variable}")

    # -- addresses and i64 arithmetic -------------------------------------------------------------------------
    def at(self, pointer: str, offset: Size, kind: str = "i8") -> str:
        """pointer + offset elements of `kind` (bytes unless said otherwise)."""
        if offset == 0:
            return pointer
        return self.value(f"getelementptr inbounds {kind}, ptr {pointer}, i64 {offset}")

    def add(self, a: Size, b: Size) -> Size:
        if a == 0:
            return b
        return a if b == 0 else self._fold("add nsw", a, b, lambda x, y: x + y)

    def sub(self, a: Size, b: Size) -> Size:
        return a if b == 0 else self._fold("sub nsw", a, b, lambda x, y: x - y)

    def mul(self, a: Size, b: Size) -> Size:
        if a == 0 or b == 0:
            return 0
        if a == 1:
            return b
        return a if b == 1 else self._fold("mul nsw", a, b, lambda x, y: x * y)

    def udiv(self, a: Size, b: Size) -> Size:
        """a // b for a >= 0, b > 0."""
        return a if b == 1 else self._fold("udiv", a, b, lambda x, y: x // y)

    def urem(self, a: Size, b: Size) -> Size:
        """a % b for a >= 0, b > 0."""
        return 0 if b == 1 else self._fold("urem", a, b, lambda x, y: x % y)

    def ceil_div(self, a: Size, b: Size) -> Size:
        return self.udiv(self.add(a, self.sub(b, 1)), b)

    def smin(self, a: Size, b: Size) -> Size:
        return self._extreme("smin", a, b, min)

    def smax(self, a: Size, b: Size) -> Size:
        return self._extreme("smax", a, b, max)

    def _fold(self, operation: str, a: Size, b: Size, fold: Callable[[int, int], int]) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return fold(a, b)
        return self.value(f"{operation} i64 {a}, {b}")

    def _extreme(self, name: str, a: Size, b: Size, fold: Callable[[int, int], int]) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return fold(a, b)
        return self.call("i64", f"llvm.{name}.i64", f"i64 {a}", f"i64 {b}")

    def compare(self, relation: str, a: Size, b: Size) -> str:
        """An i1; `relation` is LLVM's: eq ne slt sle sgt sge."""
        return self.value(f"icmp {relation} i64 {a}, {b}")

    # -- kernel arguments -------------------------------------------------------------------------------------
    def word(self, index: int) -> str:
        """Integer argument `index` of the kernel."""
        return self.value(f"load i64, ptr {self.at('%args', index * 8)}, !invariant.load !2")

    def pointer(self, index: int) -> str:
        """Pointer argument `index` of the kernel."""
        return self.value(f"load ptr, ptr {self.at('%args', index * 8)}, !invariant.load !2")

    # -- control ----------------------------------------------------------------------------------------------
    @contextmanager
    def loop(self, low: Size, high: Size, step: int = 1, *, unroll: bool = False) -> Iterator[str]:
        """for i in range(low, high, step); yields i. The body may be empty of iterations."""
        counter = self.variable("i64", low)
        head, body, end = self.fresh("head"), self.fresh("body"), self.fresh("end")
        self.line(f"br label %{head}")
        self.label(head)
        index = self.get("i64", counter)
        inside = self.compare("slt", index, high)
        self.line(f"br i1 {inside}, label %{body}, label %{end}")
        self.label(body)
        yield index
        self.set("i64", counter, self.value(f"add nsw i64 {index}, {step}"))
        self.line(f"br label %{head}" + ("" if unroll else ", !llvm.loop !0"))
        self.label(end)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """if condition (an i1): the body."""
        inside, end = self.fresh("then"), self.fresh("endif")
        self.line(f"br i1 {condition}, label %{inside}, label %{end}")
        self.label(inside)
        yield
        self.line(f"br label %{end}")
        self.label(end)

    def branch(self, condition: str, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """if condition: then() else: otherwise()."""
        yes, no, end = self.fresh("then"), self.fresh("else"), self.fresh("endif")
        self.line(f"br i1 {condition}, label %{yes}, label %{no}")
        self.label(yes)
        then()
        self.line(f"br label %{end}")
        self.label(no)
        otherwise()
        self.line(f"br label %{end}")
        self.label(end)

    def text(self, result: str | None = None) -> str:
        """The finished definition; `result` is 'type value' for functions that return one."""
        ending = f"ret {result}" if result else self._return
        assert ending, f"{self.name} returns a value: pass it to text()"
        needs = f"{_NEEDS}{','.join(sorted(self._required))}\n" if self._required else ""
        return needs + self._head + "\n".join(self._allocas + self._body) + f"\n  {ending}\n}}\n"


def _type_of(argument: str) -> str:
    """The type in 'type value'; vector types hold spaces."""
    if argument.startswith("<"):
        return argument[: argument.index(">") + 1]
    return argument.split(" ", 1)[0]
