"""The table of scalar primitives: their meaning in numpy, and expansions for targets without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from engineworks.ir.scalar import PRIMS, Prim, Scalar, apply, const, where


def prim(
    name: str,
    arity: int,
    numpy: Callable[..., Any],
    *,
    result: Literal["same", "bool", "second"] = "same",
    expand: Callable[..., Scalar] | None = None,
    commutes: bool = False,
) -> None:
    """Add a primitive to the table."""
    assert name not in PRIMS, f"primitive {name} defined twice"
    PRIMS[name] = Prim(name, arity, numpy, result, expand, commutes)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(np.asarray(x, np.float64)).astype(np.asarray(x).dtype)


def _shift_left(a: Any, b: Any) -> Any:
    """Shifting out everything gives zero, where C leaves it undefined."""
    bits = np.asarray(a).dtype.itemsize * 8
    return np.where(
        np.asarray(b) >= bits,
        np.zeros_like(a),
        np.left_shift(a, np.minimum(b, bits - 1).astype(np.asarray(a).dtype)),
    )


def _shift_right(a: Any, b: Any) -> Any:
    bits = np.asarray(a).dtype.itemsize * 8
    return np.where(
        np.asarray(b) >= bits,
        np.zeros_like(a),
        np.right_shift(a, np.minimum(b, bits - 1).astype(np.asarray(a).dtype)),
    )


def _truncating_divide(a: Any, b: Any) -> Any:
    """Integers divide toward zero as in C and ONNX; floats divide."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind not in "iu":
        return np.true_divide(a, b)
    safe = np.where(b == 0, np.ones_like(b), b)
    quotient = np.floor_divide(a, safe)
    inexact = (quotient * safe != a) & ((a < 0) != (safe < 0))
    return quotient + inexact.astype(a.dtype)


prim("add", 2, np.add, commutes=True)
prim("sub", 2, np.subtract)
prim("mul", 2, np.multiply, commutes=True)
prim("div", 2, _truncating_divide)  # float: IEEE; integer: toward zero, division by zero gives any value
prim("floordiv", 2, np.floor_divide)  # integers only (index arithmetic); rounds toward minus infinity
prim("mod", 2, np.mod)  # sign of the divisor, as Python; floats too
prim("rem", 2, np.fmod)  # sign of the dividend, as C
prim("fma", 3, lambda a, b, c: np.add(np.multiply(a, b), c))
prim("neg", 1, np.negative)
prim("abs", 1, np.abs)
prim("min", 2, np.minimum, commutes=True)  # NaN in either operand gives NaN
prim("max", 2, np.maximum, commutes=True)
prim("floor", 1, np.floor)
prim("ceil", 1, np.ceil)
prim("trunc", 1, np.trunc)
prim("round_even", 1, np.rint)
prim("sqrt", 1, np.sqrt)
prim("rsqrt", 1, lambda x: 1 / np.sqrt(x), expand=lambda x: const(1, x.dtype) / apply("sqrt", x))
prim("exp", 1, np.exp)
prim("log", 1, np.log)
prim("sin", 1, np.sin)
prim("cos", 1, np.cos)
prim("tan", 1, np.tan, expand=lambda x: apply("sin", x) / apply("cos", x))
prim("tanh", 1, np.tanh)
prim("erf", 1, _erf)
prim("sigmoid", 1, lambda x: 1 / (1 + np.exp(-x)), expand=lambda x: 1 / (1 + apply("exp", -x)))
prim("pow", 2, np.power)
prim("asin", 1, np.arcsin)
prim("acos", 1, np.arccos, expand=lambda x: math.pi / 2 - apply("asin", x))
prim("atan", 1, np.arctan)
prim("expm1", 1, np.expm1)
prim("log1p", 1, np.log1p)
prim("sign", 1, np.sign, expand=lambda x: where(apply("lt", const(0, x.dtype), x), const(1, x.dtype),
     where(apply("lt", x, const(0, x.dtype)), const(-1, x.dtype), x)))  # fmt: skip
prim("eq", 2, np.equal, result="bool", commutes=True)
prim("ne", 2, np.not_equal, result="bool", commutes=True)
prim("lt", 2, np.less, result="bool")
prim("le", 2, np.less_equal, result="bool")
prim("is_nan", 1, np.isnan, result="bool", expand=lambda x: apply("ne", x, x))
prim("where", 3, np.where, result="second")
prim("and", 2, np.bitwise_and, commutes=True)
prim("or", 2, np.bitwise_or, commutes=True)
prim("xor", 2, np.bitwise_xor, commutes=True)
prim("not", 1, lambda a: np.logical_not(a) if np.asarray(a).dtype == bool else np.bitwise_not(a))
prim("shl", 2, _shift_left)
prim("shr", 2, _shift_right)


def call(name: str) -> Callable[..., Scalar]:
    """The constructor of a primitive: `call('exp')(x)`."""
    return lambda *args: apply(name, *args)
