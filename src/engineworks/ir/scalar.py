"""The scalar language: one hash-consed expression tree, folded into numpy, LLVM, intervals and text.

An expression's leaves are constants, arguments (the scalars an op's body receives), loads (an element of an operand at
an index), axes (the loop variables of a kernel) and sizes (symbolic dims). Everything else is a primitive of `PRIMS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from weakref import WeakValueDictionary

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType

Number = bool | int | float
LEAVES = ("const", "argument", "axis", "size", "load", "stage")


@dataclass(frozen=True, slots=True)
class Prim:
    """One primitive.

    Attributes:
        arity: number of operands.
        result: 'same' (the dtype all operands share), 'bool', or 'second' (where: dtype of operand 1).
        numpy: its meaning.
        expand: an equal expression of simpler primitives, for emitters without an instruction for it.
        commutes: operands may swap.
    """

    name: str
    arity: int
    numpy: Callable[..., Any]
    result: Literal["same", "bool", "second"] = "same"
    expand: Callable[..., Scalar] | None = None
    commutes: bool = False


PRIMS: dict[str, Prim] = {}


class Scalar:
    """A node of the expression; equal expressions are the same object, so `is` compares them."""

    __slots__ = ("__weakref__", "args", "dtype", "head", "payload")
    head: str
    args: tuple[Scalar, ...]
    dtype: DType
    payload: Any

    _table: ClassVar[WeakValueDictionary[tuple[object, ...], Scalar]] = WeakValueDictionary()

    @staticmethod
    def make(head: str, args: tuple[Scalar, ...], dtype: DType, payload: Any = None) -> Scalar:
        """The interned node. `payload`: a const's Python number, an axis' or argument's index, a load's operand."""
        key = (head, args, dtype, _payload_key(payload))
        found = Scalar._table.get(key)
        if found is None:
            found = object.__new__(Scalar)
            found.head, found.args, found.dtype, found.payload = head, args, dtype, payload
            Scalar._table[key] = found
        return found

    def __repr__(self) -> str:
        return to_text(self)

    def __reduce__(self) -> tuple:
        """A copy, or what another process unpickles, is the interned node again."""
        return Scalar.make, (self.head, self.args, self.dtype, self.payload)

    # Arithmetic with Python numbers takes this expression's dtype.
    def _binary(self, head: str, other: Scalar | Number, *, swapped: bool = False) -> Scalar:
        right = other if isinstance(other, Scalar) else const(other, self.dtype)
        return apply(head, right, self) if swapped else apply(head, self, right)

    def __add__(self, other: Scalar | Number) -> Scalar:
        return self._binary("add", other)

    def __radd__(self, other: Number) -> Scalar:
        return self._binary("add", other, swapped=True)

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return self._binary("sub", other)

    def __rsub__(self, other: Number) -> Scalar:
        return self._binary("sub", other, swapped=True)

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return self._binary("mul", other)

    def __rmul__(self, other: Number) -> Scalar:
        return self._binary("mul", other, swapped=True)

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        return self._binary("div", other)

    def __rtruediv__(self, other: Number) -> Scalar:
        return self._binary("div", other, swapped=True)

    def __floordiv__(self, other: Scalar | Number) -> Scalar:
        return self._binary("floordiv", other)

    def __mod__(self, other: Scalar | Number) -> Scalar:
        return self._binary("mod", other)

    def __neg__(self) -> Scalar:
        return apply("neg", self)


def _payload_key(payload: Any) -> object:
    """1, 1.0 and True, 0.0 and -0.0 compare equal in Python but are different constants; NaN must equal itself."""
    if isinstance(payload, float):
        return (float, "nan" if math.isnan(payload) else payload, math.copysign(1.0, payload))
    return (type(payload), payload)


# -- leaves ---------------------------------------------------------------------------------------------------
def const(value: Number, dtype: DType) -> Scalar:
    """A constant, normalised to what `dtype` can hold."""
    if dtype.is_float:
        value = float(value)
    elif dtype.kind == "bool":
        value = bool(value)
    else:
        value = int(value)
    return Scalar.make("const", (), dtype, value)


def argument(index: int, dtype: DType) -> Scalar:
    """Operand `index` of an op's scalar body; of an epilogue, argument 0 is the accumulator."""
    return Scalar.make("argument", (), dtype, index)


def axis(index: int) -> Scalar:
    """Loop variable `index` of a kernel's domain, i64."""
    return Scalar.make("axis", (), dtypes.i64, index)


def size(dim: Dim) -> Scalar:
    """A dim as an i64 scalar; a plain int becomes a constant."""
    return const(dim, dtypes.i64) if isinstance(dim, int) else Scalar.make("size", (), dtypes.i64, dim)


def load(operand: int, indices: Sequence[Scalar], dtype: DType) -> Scalar:
    """Element of operand number `operand` at the logical index `indices` (i64 each, one for each axis)."""
    return Scalar.make("load", tuple(indices), dtype, operand)


def stage(index: int, dtype: DType) -> Scalar:
    """Result of stage `index` (a reduction) of the same kernel."""
    return Scalar.make("stage", (), dtype, index)


# -- primitives -----------------------------------------------------------------------------------------------
def apply(head: str, *args: Scalar, dtype: DType | None = None) -> Scalar:
    """The primitive `head` on `args`, simplified where that is exact. `dtype` is given for casts only.

    Raises:
        TypeError: operands of different dtypes (ops cast first; the scalar language never promotes).
    """
    if head in ("cast", "bitcast"):
        assert dtype is not None, f"{head} needs a dtype"
        return _cast(head, args[0], dtype)
    prim = PRIMS[head]
    assert len(args) == prim.arity, f"{head} takes {prim.arity} operands, got {len(args)}"
    same = args[1:] if head == "where" else args
    if any(a.dtype is not same[0].dtype for a in same):
        raise TypeError(
            f"{head} of {', '.join(str(a.dtype) for a in args)}: operands must share a dtype; cast first"
        )
    result = dtypes.bool_ if prim.result == "bool" else same[0].dtype
    return _simplify(head, args, result)


def _cast(head: str, x: Scalar, dtype: DType) -> Scalar:
    if x.dtype is dtype:
        return x
    if head == "cast" and x.head == "const" and not (x.dtype.is_float and not dtype.is_float):
        return (
            const(x.payload, dtype)
            if not dtype.is_integer or _fits(x.payload, dtype)
            else _node_cast(head, x, dtype)
        )
    return _node_cast(head, x, dtype)


def _node_cast(head: str, x: Scalar, dtype: DType) -> Scalar:
    return Scalar.make(head, (x,), dtype)


def _fits(value: Number, dtype: DType) -> bool:
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0
    return low <= value < low + (1 << dtype.bits)


def _simplify(head: str, args: tuple[Scalar, ...], dtype: DType) -> Scalar:
    """Exact rewrites only: integer algebra for index arithmetic, constants, where with a known condition."""
    if head == "where" and args[0].head == "const":
        return args[1] if args[0].payload else args[2]
    if head == "where" and args[1] is args[2]:
        return args[1]
    if head in ("and", "or") and dtype.kind == "bool":
        return _simplify_logic(head, args, dtype)
    if dtype.is_integer or (dtype.kind == "bool" and args[0].dtype.is_integer):
        simple = _simplify_integer(head, args, dtype)
        if simple is not None:
            return simple
    return Scalar.make(head, args, dtype)


def _simplify_logic(head: str, args: tuple[Scalar, ...], dtype: DType) -> Scalar:
    for this, other in (args, args[::-1]):
        if this.head == "const":
            keeps = bool(this.payload) == (head == "and")
            return other if keeps else this
    return args[0] if args[0] is args[1] else Scalar.make(head, args, dtype)


_INTEGER_FOLDS: dict[str, Callable[[int, int], Number]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "min": min, "max": max,
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
}  # fmt: skip


def _simplify_integer(head: str, args: tuple[Scalar, ...], dtype: DType) -> Scalar | None:
    """The simpler form of an integer operation on two operands, or None."""
    if len(args) != 2:
        return None
    a, b = args
    if a.head == "const" and b.head == "const" and head in _INTEGER_FOLDS:
        if head in ("floordiv", "mod") and b.payload == 0:
            return None
        value = _INTEGER_FOLDS[head](a.payload, b.payload)
        return const(value, dtype) if dtype.kind == "bool" or _fits(value, dtype) else None
    if a.head == "const" and head in ("add", "mul"):
        return b if head == "add" and a.payload == 0 else apply(head, b, a)
    if b.head == "const" and head in _BY_CONSTANT:
        return _BY_CONSTANT[head](a, b.payload, dtype)
    return None


def _add_constant(a: Scalar, addend: int, dtype: DType) -> Scalar | None:
    if addend == 0:
        return a
    if a.head == "add" and a.args[1].head == "const":
        return apply("add", a.args[0], const(a.args[1].payload + addend, dtype))
    return None


def _subtract_constant(a: Scalar, subtrahend: int, dtype: DType) -> Scalar | None:
    if subtrahend == 0:
        return a
    return apply("add", a, const(-subtrahend, dtype)) if dtype.kind == "int" else None


def _multiply_by_constant(a: Scalar, factor: int, dtype: DType) -> Scalar | None:
    if factor in (0, 1):
        return a if factor == 1 else const(0, dtype)
    if a.head == "mul" and a.args[1].head == "const":
        return apply("mul", a.args[0], const(a.args[1].payload * factor, dtype))
    return None


_BY_CONSTANT: dict[str, Callable[[Scalar, int, DType], Scalar | None]] = {
    "add": _add_constant,
    "sub": _subtract_constant,
    "mul": _multiply_by_constant,
    "floordiv": lambda a, divisor, dtype: a if divisor == 1 else None,
    "mod": lambda a, divisor, dtype: const(0, dtype) if divisor == 1 else None,
}
"""What integer operations on a constant second operand simplify to."""


def cast(x: Scalar, dtype: DType) -> Scalar:
    """x converted as numpy's astype does (float to int truncates; to bool: x != 0)."""
    return apply("cast", x, dtype=dtype)


def where(condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    """a where the condition holds, else b; a load in the branch not taken is not performed."""
    return apply("where", condition, a, b)


# -- traversal ------------------------------------------------------------------------------------------------
def fold(
    expr: Scalar, visit: Callable[[Scalar, tuple[Any, ...]], Any], memo: dict[Scalar, Any] | None = None
) -> Any:
    """Bottom-up: visit(node, results of its args), each distinct node once. The only traversal of the language."""
    memo = {} if memo is None else memo
    stack = [expr]
    while stack:
        node = stack[-1]
        if node in memo:
            stack.pop()
            continue
        waiting = [a for a in node.args if a not in memo]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        memo[node] = visit(node, tuple(memo[a] for a in node.args))
    return memo[expr]


def rebuild(node: Scalar, args: tuple[Scalar, ...]) -> Scalar:
    """`node` over other args."""
    if args == node.args:
        return node
    if node.head in LEAVES:
        return Scalar.make(node.head, args, node.dtype, node.payload)
    return apply(node.head, *args, dtype=node.dtype if node.head in ("cast", "bitcast") else None)


def substitute(expr: Scalar, replace: Callable[[Scalar], Scalar | None]) -> Scalar:
    """expr with every node for which `replace` answers something exchanged (asked top-down through rebuilt args)."""

    def visit(node: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        rebuilt = rebuild(node, args)
        return replace(rebuilt) or rebuilt

    return fold(expr, visit)


def leaves_of(expr: Scalar, head: str) -> list[Scalar]:
    """All distinct nodes with this head, in evaluation order."""
    found: list[Scalar] = []
    fold(expr, lambda node, _: found.append(node) if node.head == head else None)
    return found


def count_nodes(expr: Scalar) -> int:
    """Distinct primitive applications: the cost that fusion weighs."""
    seen: dict[Scalar, Any] = {}
    fold(expr, lambda node, _: None, seen)
    return sum(node.head not in LEAVES for node in seen)


def expand(node: Scalar) -> Scalar | None:
    """The node's expansion into simpler primitives, or None when it has none."""
    prim = PRIMS.get(node.head)
    return prim.expand(*node.args) if prim and prim.expand else None


def to_text(expr: Scalar) -> str:
    """Canonical text: `%0` argument, `i0` axis, `in1[i0, i1]` load."""

    def visit(node: Scalar, args: tuple[str, ...]) -> str:
        match node.head:
            case "const":
                return f"{node.payload!r}:{node.dtype}"
            case "argument":
                return f"%{node.payload}:{node.dtype}"
            case "axis":
                return f"i{node.payload}"
            case "size":
                return f"|{node.payload}|"
            case "stage":
                return f"s{node.payload}:{node.dtype}"
            case "load":
                return f"in{node.payload}:{node.dtype}[{', '.join(args)}]"
            case "cast" | "bitcast":
                return f"{node.head}_{node.dtype}({args[0]})"
        return f"{node.head}({', '.join(args)})"

    return fold(expr, visit)


def evaluate(
    expr: Scalar,
    arguments: Sequence[np.ndarray] = (),
    *,
    load: Callable[[int, tuple[Any, ...]], Any] | None = None,
    axes: Mapping[int, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    stages: Mapping[int, Any] | None = None,
) -> np.ndarray:
    """expr in numpy. `load(operand, indices)`, `axes` and `stages` serve kernel bodies; `dims` values the symbols."""
    from engineworks.core.dims import evaluate as evaluate_dim

    def visit(node: Scalar, args: tuple[Any, ...]) -> Any:
        match node.head:
            case "const":
                return np.asarray(node.payload).astype(node.dtype.numpy)
            case "argument":
                return arguments[node.payload]
            case "axis":
                assert axes is not None
                return axes[node.payload]
            case "size":
                return np.int64(evaluate_dim(node.payload, dict(dims or {})))
            case "stage":
                assert stages is not None
                return stages[node.payload]
            case "load":
                assert load is not None
                return load(node.payload, args)
            case "cast":
                return np.asarray(args[0]).astype(node.dtype.numpy)
            case "bitcast":
                return np.asarray(args[0]).view(node.dtype.numpy)
        result = PRIMS[node.head].numpy(*args)
        return np.asarray(result).astype(node.dtype.numpy, copy=False)

    with np.errstate(all="ignore"):
        return np.asarray(fold(expr, visit))
