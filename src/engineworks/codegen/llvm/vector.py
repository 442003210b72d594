"""SIMD values as Python objects: `x * y + 1` appends LLVM instructions on `<lanes x kind>`.

A `Vector` is in its *compute* form: f16, bf16, f8 and f4 live as `float` already rounded to their grid, integers
below a byte as i8, bool as i1. `storage_kind` is what lies in memory. With one lane the types are LLVM's scalars.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Isa, f32_constant, f64_constant
from engineworks.core.dtypes import DType

Number = bool | int | float
_STORAGE = {"f64": "double", "f32": "float", "f16": "half", "bf16": "bfloat"}
BITS = {
    "float": 32,
    "double": 64,
    "half": 16,
    "bfloat": 16,
    "i1": 1,
    "i8": 8,
    "i16": 16,
    "i32": 32,
    "i64": 64,
}
_SUFFIX = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}


def compute_kind(dtype: DType) -> str:
    """LLVM's element type of a value of `dtype` in registers."""
    if dtype.kind == "bool":
        return "i1"
    if dtype.is_float:
        return "double" if dtype.name == "f64" else "float"
    return f"i{max(dtype.bits, 8)}"


def register_kind(dtype: DType) -> str:
    """LLVM's element type in register form: half, bfloat, i1 for bool, bytes for what is narrower."""
    return "i1" if dtype.kind == "bool" else storage_kind(dtype)


def storage_kind(dtype: DType) -> str:
    """LLVM's element type of `dtype` in memory (bool and what has 8 bits or fewer are bytes)."""
    return _STORAGE.get(dtype.name) or f"i{dtype.size_bytes * 8}"


def vector_type(kind: str, lanes: int) -> str:
    """'<16 x float>', or 'float' for one lane."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def constant(kind: str, lanes: int, value: Number) -> str:
    """The LLVM constant with `value` in every lane."""
    match kind:
        case "float":
            text = f32_constant(value)
        case "double":
            text = f64_constant(value)
        case "i1":
            text = "true" if value else "false"
        case _:
            bits = int(kind[1:])
            text = str((int(value) + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1)))
    return text if lanes == 1 else f"splat ({kind} {text})"


@dataclass(frozen=True, slots=True)
class Vector:
    """One SSA value. Comparisons give i1 vectors; `unsigned` operations are chosen by the caller."""

    f: Function
    isa: Isa
    kind: str
    lanes: int
    name: str

    @property
    def type(self) -> str:
        return vector_type(self.kind, self.lanes)

    @property
    def is_float(self) -> bool:
        return self.kind in ("float", "double")

    @property
    def suffix(self) -> str:
        """Of intrinsics on this type: 'v16f32', 'i64'."""
        scalar = _SUFFIX.get(self.kind, self.kind)
        return scalar if self.lanes == 1 else f"v{self.lanes}{scalar}"

    def of(self, name: str, kind: str | None = None) -> Vector:
        """Another SSA value with as many lanes."""
        return Vector(self.f, self.isa, kind or self.kind, self.lanes, name)

    def splat(self, value: Number) -> Vector:
        """A constant of this type."""
        return self.of(constant(self.kind, self.lanes, value))

    def _operand(self, other: Vector | Number) -> str:
        if isinstance(other, Vector):
            assert other.type == self.type, f"{self.type} meets {other.type}"
            return other.name
        return constant(self.kind, self.lanes, other)

    def instruction(self, opcode: str, other: Vector | Number) -> Vector:
        """`opcode type self, other`."""
        return self.of(self.f.value(f"{opcode} {self.type} {self.name}, {self._operand(other)}"))

    def intrinsic(self, name: str, *others: Vector | Number) -> Vector:
        """llvm.name.<suffix>(self, *others), all of this type."""
        arguments = [f"{self.type} {self.name}", *(f"{self.type} {self._operand(o)}" for o in others)]
        return self.of(self.f.call(self.type, f"llvm.{name}.{self.suffix}", *arguments))

    # -- arithmetic -------------------------------------------------------------------------------------------
    def __add__(self, other: Vector | Number) -> Vector:
        return self.instruction("fadd" if self.is_float else "add", other)

    def __radd__(self, other: Number) -> Vector:
        return self + other

    def __sub__(self, other: Vector | Number) -> Vector:
        return self.instruction("fsub" if self.is_float else "sub", other)

    def __rsub__(self, other: Number) -> Vector:
        return self.splat(other) - self

    def __mul__(self, other: Vector | Number) -> Vector:
        return self.instruction("fmul" if self.is_float else "mul", other)

    def __rmul__(self, other: Number) -> Vector:
        return self * other

    def __truediv__(self, other: Vector | Number) -> Vector:
        return self.instruction("fdiv", other)

    def __rtruediv__(self, other: Number) -> Vector:
        return self.splat(other) / self

    def __neg__(self) -> Vector:
        if self.is_float:
            return self.of(self.f.value(f"fneg {self.type} {self.name}"))
        return self.splat(0) - self

    def __and__(self, other: Vector | Number) -> Vector:
        return self.instruction("and", other)

    def __or__(self, other: Vector | Number) -> Vector:
        return self.instruction("or", other)

    def __xor__(self, other: Vector | Number) -> Vector:
        return self.instruction("xor", other)

    def __lshift__(self, other: Vector | Number) -> Vector:
        return self.instruction("shl", other)

    def __rshift__(self, other: Vector | Number) -> Vector:
        """Logical shift."""
        return self.instruction("lshr", other)

    def fma(self, a: Vector | Number, b: Vector | Number) -> Vector:
        """self * a + b, rounded once."""
        return self.intrinsic("fma", a, b)

    def polynomial(self, coefficients: tuple[float, ...]) -> Vector:
        """Horner's rule; the highest power's coefficient comes first."""
        value = self.splat(coefficients[0])
        for coefficient in coefficients[1:]:
            value = value.fma(self, coefficient)
        return value

    def abs(self) -> Vector:
        return self.intrinsic("fabs")

    def copysign(self, sign: Vector) -> Vector:
        return self.intrinsic("copysign", sign)

    # -- comparison and choice --------------------------------------------------------------------------------
    def compare(self, relation: str, other: Vector | Number) -> Vector:
        """LLVM's relation: oeq olt ole une uno … for floats, eq ne slt ult … for integers."""
        opcode = "fcmp" if self.is_float else "icmp"
        return self.of(
            self.f.value(f"{opcode} {relation} {self.type} {self.name}, {self._operand(other)}"), "i1"
        )

    def choose(self, yes: Vector, no: Vector | Number) -> Vector:
        """This i1 vector selects lanes of `yes` and `no`."""
        other = yes._operand(no)
        text = f"select {self.type} {self.name}, {yes.type} {yes.name}, {yes.type} {other}"
        return yes.of(self.f.value(text))

    def at_least(self, low: float) -> Vector:
        """max(self, low) in one instruction; NaN stays NaN because x86's max gives its second operand then."""
        return self.splat(low).compare("ogt", self).choose(self.splat(low), self)

    def at_most(self, high: float) -> Vector:
        """min(self, high); NaN stays NaN."""
        return self.splat(high).compare("olt", self).choose(self.splat(high), self)

    def any(self) -> str:
        """An i1: whether any lane of this i1 vector is set."""
        if self.lanes == 1:
            return self.name
        packed = self.f.value(f"bitcast {self.type} {self.name} to i{self.lanes}")
        return self.f.value(f"icmp ne i{self.lanes} {packed}, 0")

    # -- conversion -------------------------------------------------------------------------------------------
    def convert(self, opcode: str, kind: str) -> Vector:
        """`opcode type self to kind`."""
        if kind == self.kind:
            return self
        return self.of(
            self.f.value(f"{opcode} {self.type} {self.name} to {vector_type(kind, self.lanes)}"), kind
        )

    def bits(self, kind: str) -> Vector:
        """The same bits as another kind of the same width."""
        return self.convert("bitcast", kind)
