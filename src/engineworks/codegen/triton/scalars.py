"""The scalar language as Triton statements: one a node, equal nodes once."""

from __future__ import annotations

import math
from collections.abc import Callable

from engineworks.codegen.triton import casts
from engineworks.codegen.triton.casts import held, held_type, stored
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.prims import EMIT, ROUGH, divide_exactly
from engineworks.core.dtypes import DType
from engineworks.ir import prims as _table  # noqa: F401  (fills PRIMS)
from engineworks.ir.scalar import LEAVES, Scalar, fold

__all__ = ["Leaf", "ScalarEmitter", "constant", "emit_scalar", "held", "held_type", "stored"]

Leaf = Callable[[Scalar, tuple[str, ...]], str]
"""Answers a leaf (argument, load, axis, size, stage), given the names of its arguments, with its held value's text."""

_ROUNDING = ("floor", "ceil", "trunc", "round_even")


class ScalarEmitter:
    """Writes expressions into `lines`; what was written once is reused while this lives.

    Values are names of Triton tensors (blocks or scalars, which broadcast). Narrow floats are computed in fp32 and
    are rounded by explicit casts only.

    Args:
        rough: what is computed is rounded to 16 bits in the end, so that it is not on the way.
    """

    def __init__(self, lines: Lines, leaf: Leaf, *, rough: bool = False) -> None:
        self.lines, self.leaf, self._rough = lines, leaf, rough
        self._rules = EMIT | ROUGH if rough else EMIT
        self.values: dict[Scalar, str] = {}
        self._exact: set[Scalar] = set()

    def value(self, expr: Scalar) -> str:
        """The name of the held value."""
        self._mark_exact(expr)
        return fold(expr, self._visit, self.values)

    def _mark_exact(self, expr: Scalar) -> None:
        """Quotients that are rounded to integers next, as in quantisation."""

        def visit(node: Scalar, _: tuple[None, ...]) -> None:
            rounds = node.head in _ROUNDING or (node.head == "cast" and node.dtype.is_integer)
            if rounds and node.args[0].head == "div" and node.args[0].dtype.name in ("f32", "f16", "bf16"):
                self._exact.add(node.args[0])

        fold(expr, visit)

    def _visit(self, node: Scalar, args: tuple[str, ...]) -> str:
        return self.lines.let(self._expression(node, args))

    def _expression(self, node: Scalar, args: tuple[str, ...]) -> str:
        if node.head == "const":
            return constant(node.payload, node.dtype)
        if node.head in LEAVES:
            return self.leaf(node, args)
        if self._rough and _rounds(node):
            return args[0]
        if node.head == "cast":
            return casts.cast(self.lines, args[0], node.args[0].dtype, node.dtype)
        if node.head == "bitcast":
            return casts.bitcast(self.lines, args[0], node.args[0].dtype, node.dtype)
        if node in self._exact:
            return divide_exactly(*args)
        if node.head == "pow" and node.args[1].head == "const" and node.args[1].payload in (2, 3):
            return " * ".join(args[:1] * int(node.args[1].payload))
        return casts.wrapped(self._rules[node.head](self.lines, node.args[-1].dtype, *args), node.dtype)


def _rounds(node: Scalar) -> bool:
    """An explicit rounding of held fp32 to 16 bits: conversions are slow instructions."""
    is_narrow = node.dtype.is_float and node.dtype.bits == 16
    return node.head == "cast" and is_narrow and node.args[0].dtype.is_float and node.args[0].dtype.bits <= 32


def emit_scalar(lines: Lines, expr: Scalar, leaf: Leaf, *, rough: bool = False) -> str:
    """Append the statements of `expr` and return the name of its value in held form.

    Args:
        leaf: answers the leaves; asked once for each distinct one.
        rough: the value is rounded to 16 bits in the end, so that it is not on the way.
    Raises:
        NoTactic: a primitive has no meaning on the dtype it is applied to.
    """
    return ScalarEmitter(lines, leaf, rough=rough).value(expr)


def constant(value: bool | float, dtype: DType) -> str:
    """A scalar tensor of the held type; narrow floats are what numpy would hold."""
    kind = held_type(dtype)
    if not dtype.is_float:
        return f"tl.full((), {int(value)}, {kind})"
    number = float(dtype.numpy.type(value)) if dtype.bits < 32 else float(value)
    if math.isinf(number) or math.isnan(number):
        return f"tl.full((), float('{number}'), {kind})"
    if number == 0 and math.copysign(1, number) < 0:  # Triton writes any zero as +0
        bits = dtype.bits if dtype.bits == 64 else 32
        return f"tl.full((), {-(1 << (bits - 1))}, tl.int{bits}).to({kind}, bitcast=True)"
    return f"tl.full((), {number!r}, {kind})"
