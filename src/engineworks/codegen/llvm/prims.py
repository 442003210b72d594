"""The scalar language as vector instructions: one rule a primitive, from the same table that gives them meaning.

`emit` lowers an expression on any number of lanes; `emit_epilogue` is what tile kernels call on their accumulators.
Narrow floats (f16, bf16, f8) are computed in f32 and rounded after every primitive, which gives numpy's results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engineworks.codegen.llvm import casts, integers
from engineworks.codegen.llvm import math as vector_math
from engineworks.codegen.llvm.function import Function, Isa
from engineworks.codegen.llvm.narrowing import narrowed, rounded_byte, widened
from engineworks.codegen.llvm.vector import Vector, compute_kind, register_kind
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.ir import prims as _table  # noqa: F401  (fills PRIMS)
from engineworks.ir.scalar import LEAVES, Scalar, expand, fold

Leaf = Callable[[Scalar], str]
"""Answers a leaf (argument, load, axis, size, stage) with the name of its register-form value."""

Rule = Callable[..., Vector]
"""(dtype of the operands, *operands) -> result, all in compute form."""


@dataclass(slots=True)
class VectorEmitter:
    """Lowers expressions into `f` on `lanes` lanes; what was emitted once is reused while `values` lives."""

    f: Function
    isa: Isa
    lanes: int
    leaf: Leaf
    values: dict[Scalar, Vector] = field(default_factory=dict)

    def vector(self, expr: Scalar) -> Vector:
        """The value in compute form."""
        return fold(expr, self._visit, self.values)

    def register(self, expr: Scalar) -> str:
        """The name of the value in register form: half, bfloat, i1 for bool, bytes for f8."""
        value = casts.encode(expr.dtype, self.vector(expr))
        return value.bits("bfloat").name if expr.dtype.name == "bf16" else value.name

    def _visit(self, node: Scalar, args: tuple[Vector, ...]) -> Vector:
        blank = Vector(self.f, self.isa, compute_kind(node.dtype), self.lanes, "")
        if node.head == "const":
            return blank.splat(_on_grid(node.payload, node.dtype))
        if node.head in LEAVES:
            return casts.decode(node.dtype, blank.of(self.leaf(node), register_kind(node.dtype)))
        byte = rounded_byte(node)
        if byte is not None:
            return narrowed(byte, node.dtype, self.values.__getitem__)
        if node.head == "cast":
            byte = rounded_byte(node.args[0]) if node.dtype is dtypes.f32 else None
            if byte is not None:
                return widened(byte, self.values.__getitem__)
            return casts.cast(args[0], node.args[0].dtype, node.dtype)
        if node.head == "bitcast":
            return casts.bitcast(args[0], node.args[0].dtype, node.dtype)
        return self._apply(node, args)

    def _apply(self, node: Scalar, args: tuple[Vector, ...]) -> Vector:
        dtype = node.args[-1].dtype
        rule = EMIT.get(node.head)
        if rule is None:
            simpler = expand(node)
            if simpler is None:
                raise NoTactic(
                    f"the CPU has no code for the primitive '{node.head}' on {dtype}; it also has no expansion."
                )
            # The operands are in `values` already, so only the expansion's own nodes are emitted.
            return fold(simpler, self._visit, self.values)
        value = rule(dtype, *args)
        return value if node.head in _EXACT or not node.dtype.is_float else casts.round_to(node.dtype, value)


def emit(f: Function, isa: Isa, lanes: int, expr: Scalar, leaf: Leaf) -> str:
    """Append code for `expr` on `lanes` lanes and return the value's name, in register form."""
    return VectorEmitter(f, isa, lanes, leaf).register(expr)


def emit_epilogue(
    f: Function, isa: Isa, expression: Scalar, arguments: Sequence[str], lanes: int | None = None
) -> str:
    """Append an epilogue and return the stored value's name.

    Args:
        expression: over argument(0), the accumulator, and argument(1 + k), an element of epilogue operand k.
        arguments: SSA values `<lanes x T>`, T by the argument's dtype: float, half, bfloat, i8 …, bool as i1.
        lanes: one f32 register's unless given.
    """
    return emit(f, isa, lanes or isa.lanes, expression, lambda leaf: arguments[leaf.payload])


def _on_grid(value: bool | float, dtype: DType) -> bool | int | float:
    """Constants of narrow floats are what numpy would hold."""
    return float(dtype.numpy.type(value)) if dtype.is_float and dtype.bits < 32 else value


# -- rules ----------------------------------------------------------------------------------------------------
def _by_kind(of_float: Rule | None, of_integer: Rule | None, of_bool: Rule | None = None) -> Rule:
    """The rule for the operands' dtype."""

    def rule(dtype: DType, *args: Vector) -> Vector:
        chosen = of_float if dtype.is_float else of_bool if dtype.kind == "bool" else of_integer
        if chosen is None:
            raise NoTactic(f"this primitive has no meaning on {dtype}: cast its operands first.")
        return chosen(dtype, *args)

    return rule


def _float_extreme(relation: str) -> Rule:
    """max ('ogt') or min ('olt') that gives NaN when either operand is NaN.

    `a > b ? a : b` is one instruction that gives b when they do not compare, so a constant operand goes first and
    two variable operands need one more test for NaN in a.
    """

    def rule(dtype: DType, a: Vector, b: Vector) -> Vector:
        if not b.name.startswith("%"):
            a, b = b, a
        out = a.compare(relation, b).choose(a, b)
        return a.compare("uno", a).choose(a, out) if a.name.startswith("%") else out

    return rule


def _integer_extreme(name: str) -> Rule:
    return lambda dtype, a, b: a.intrinsic(("u" if dtype.kind == "uint" else "s") + name, b)


def _compare(of_float: str, signed: str, unsigned: str) -> Rule:
    def rule(dtype: DType, a: Vector, b: Vector) -> Vector:
        return a.compare(of_float if a.is_float else signed if dtype.kind == "int" else unsigned, b)

    return rule


def _plain(operation: Callable[..., Vector]) -> Rule:
    return lambda dtype, *args: operation(*args)


def _rounding(name: str) -> Rule:
    return _by_kind(lambda dtype, x: x.intrinsic(name), lambda dtype, x: x)


def _float_only(operation: Callable[..., Vector]) -> Rule:
    return _by_kind(_plain(operation), None)


_AND, _OR = _plain(lambda a, b: a & b), _plain(lambda a, b: a | b)
_ADD, _MUL = _plain(lambda a, b: a + b), _plain(lambda a, b: a * b)
_DIV = _plain(lambda a, b: a / b)

EMIT: dict[str, Rule] = {
    "add": _by_kind(_ADD, _ADD, _OR),
    "sub": _plain(lambda a, b: a - b),
    "mul": _by_kind(_MUL, _MUL, _AND),
    "div": _by_kind(_DIV, integers.divide),
    "floordiv": _by_kind(lambda dtype, a, b: (a / b).intrinsic("floor"), integers.floor_divide),
    "mod": _by_kind(_plain(vector_math.modulo), integers.modulo),
    "rem": _by_kind(_plain(vector_math.remainder), integers.remainder),
    "fma": _by_kind(_plain(lambda a, b, c: a.fma(b, c)), _plain(lambda a, b, c: a * b + c)),
    "neg": _plain(lambda x: -x),
    "abs": _by_kind(_plain(lambda x: x.abs()), integers.absolute, _plain(lambda x: x)),
    "min": _by_kind(_float_extreme("olt"), _integer_extreme("min"), _AND),
    "max": _by_kind(_float_extreme("ogt"), _integer_extreme("max"), _OR),
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "trunc": _rounding("trunc"),
    "round_even": _rounding("rint"),
    "sqrt": _float_only(lambda x: x.intrinsic("sqrt")),
    "exp": _float_only(vector_math.exp),
    "log": _float_only(vector_math.log),
    "sin": _float_only(vector_math.sin),
    "cos": _float_only(vector_math.cos),
    "tan": _float_only(vector_math.tan),
    "tanh": _float_only(vector_math.tanh),
    "erf": _float_only(vector_math.erf),
    "sigmoid": _float_only(vector_math.sigmoid),
    "pow": _by_kind(_plain(vector_math.power), integers.power),
    "asin": _float_only(vector_math.asin),
    "acos": _float_only(vector_math.acos),
    "atan": _float_only(vector_math.atan),
    "expm1": _float_only(vector_math.expm1),
    "log1p": _float_only(vector_math.log1p),
    "eq": _compare("oeq", "eq", "eq"),
    "ne": _compare("une", "ne", "ne"),
    "lt": _compare("olt", "slt", "ult"),
    "le": _compare("ole", "sle", "ule"),
    "is_nan": _by_kind(_plain(lambda x: x.compare("uno", x)), _plain(lambda x: x.compare("ne", x))),
    "where": lambda dtype, condition, a, b: condition.choose(a, b),
    "and": _AND,
    "or": _OR,
    "xor": _plain(lambda a, b: a ^ b),
    "not": _by_kind(None, _plain(lambda x: x ^ -1), _plain(lambda x: x ^ 1)),
    "shl": integers.shift_left,
    "shr": integers.shift_right,
}
"""How each primitive is computed; `rsqrt` and `sign` go through their expansions."""

_EXACT = frozenset(
    {"neg", "abs", "min", "max", "floor", "ceil", "trunc", "round_even", "where", "sign", "rem"}
)
"""Results that lie on the operands' grid already."""
