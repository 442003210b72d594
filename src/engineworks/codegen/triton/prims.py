"""How each scalar primitive is written in Triton: one rule a primitive, for values in held form (see casts.py)."""

from __future__ import annotations

from collections.abc import Callable

from engineworks.codegen.triton.casts import held_type
from engineworks.codegen.triton.lines import Lines
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic

Rule = Callable[..., str]
"""(lines, dtype of the last operand, *names of the operands) -> expression of the result; may append lines."""


def _plain(template: str) -> Rule:
    """A rule that is one expression of `{0}`, `{1}` …"""
    return lambda lines, dtype, *args: template.format(*args)


def _by_kind(of_float: Rule | None, of_integer: Rule | None, of_bool: Rule | None = None) -> Rule:
    """The rule for the operands' dtype."""

    def rule(lines: Lines, dtype: DType, *args: str) -> str:
        chosen = of_float if dtype.is_float else of_bool if dtype.kind == "bool" else of_integer
        if chosen is None:
            raise NoTactic(f"this primitive has no meaning on {dtype}: cast its operands first.")
        return chosen(lines, dtype, *args)

    return rule


def _float_only(template: str) -> Rule:
    return _by_kind(_plain(template), None)


def _extreme(name: str) -> Rule:
    # PTX's min and max drop NaN unless told otherwise.
    return _plain(f"tl.{name}({{0}}, {{1}}, propagate_nan=tl.PropagateNan.ALL)")


def _two_of_library(name: str) -> Rule:
    """A function of two operands, which it wants of one shape."""

    def rule(lines: Lines, dtype: DType, a: str, b: str) -> str:
        x, y = lines.name(), lines.name()
        lines.line(f"{x}, {y} = tl.broadcast({a}, {b})")
        return f"libdevice.{name}({x}, {y})"

    return rule


# -- integers -------------------------------------------------------------------------------------------------
def _steps_down(lines: Lines, a: str, b: str) -> tuple[str, str, str]:
    """(quotient toward zero, rest, where the rest is not zero and has another sign than the divisor)."""
    quotient = lines.let(f"{a} // {b}")
    rest = lines.let(f"{a} - {quotient} * {b}")
    return quotient, rest, lines.let(f"({rest} != 0) & (({rest} ^ {b}) < 0)")


def _floor_divide(lines: Lines, dtype: DType, a: str, b: str) -> str:
    if dtype.kind == "uint":
        return f"{a} // {b}"
    quotient, _, down = _steps_down(lines, a, b)
    return f"tl.where({down}, {quotient} - 1, {quotient})"


def _modulo(lines: Lines, dtype: DType, a: str, b: str) -> str:
    if dtype.kind == "uint":
        return f"{a} % {b}"
    _, rest, down = _steps_down(lines, a, b)
    return f"tl.where({down}, {rest} + {b}, {rest})"


def _integer_power(lines: Lines, dtype: DType, base: str, exponent: str) -> str:
    """By squaring, wrapping as numpy does."""
    square, rest = lines.name(), lines.name()
    lines.line(f"{square}, {rest} = tl.broadcast({base}, {exponent})")
    result = lines.let(f"{square} * 0 + 1")
    with lines.block(f"for _ in range({dtype.bits}):"):
        lines.line(f"{result} = tl.where(({rest} & 1) != 0, {result} * {square}, {result})")
        lines.line(f"{square} = {square} * {square}")
        lines.line(f"{rest} = {rest} >> 1")
    return result


def _shift(operator: str) -> Rule:
    """Zero once every bit is shifted out."""

    def rule(lines: Lines, dtype: DType, a: str, b: str) -> str:
        width = max(8, dtype.bits)
        safe = f"({b} & {width - 1})"
        inside = f"{b} < {width}" if dtype.kind == "uint" else f"({b} >= 0) & ({b} < {width})"
        return f"tl.where({inside}, {a} {operator} {safe}, 0)"

    return rule


# -- floats ---------------------------------------------------------------------------------------------------
def _float_modulo(lines: Lines, dtype: DType, a: str, b: str) -> str:
    """Python's: the sign of the divisor, also of zeros."""
    x, y = lines.name(), lines.name()
    lines.line(f"{x}, {y} = tl.broadcast({a}, {b})")
    rest = lines.let(f"libdevice.fmod({x}, {y})")
    signed = lines.let(f"tl.where(({rest} != 0) & (({rest} < 0) != ({y} < 0)), {rest} + {y}, {rest})")
    return f"tl.where({rest} == 0, libdevice.copysign({signed}, {y}), {signed})"


def divide_exactly(a: str, b: str) -> str:
    """The f32 quotient correctly rounded; `/` is within 2 ulp, which moves what lies halfway between integers."""
    return f"tl.div_rn({a}, {b})"


_DIVIDE_INTEGERS = _plain("{0} // {1}")
_AND, _OR = _plain("{0} & {1}"), _plain("{0} | {1}")
_SAME = _plain("{0}")


def _complement(lines: Lines, dtype: DType, x: str) -> str:
    return f"{x} ^ {-1 if dtype.kind == 'int' else (1 << dtype.bits) - 1}"


def _sign(lines: Lines, dtype: DType, x: str) -> str:
    kind = held_type(dtype)
    if dtype.kind == "uint":
        return f"({x} > 0).to({kind})"
    return f"tl.where({x} > 0, tl.full((), 1, {kind}), tl.where({x} < 0, tl.full((), -1, {kind}), {x}))"


EMIT: dict[str, Rule] = {
    "add": _by_kind(_plain("{0} + {1}"), _plain("{0} + {1}"), _OR),
    "sub": _plain("{0} - {1}"),
    "mul": _by_kind(_plain("{0} * {1}"), _plain("{0} * {1}"), _AND),
    "div": _by_kind(_plain("{0} / {1}"), _DIVIDE_INTEGERS),
    "floordiv": _by_kind(_plain("tl.floor({0} / {1})"), _floor_divide),
    "mod": _by_kind(_float_modulo, _modulo),
    "rem": _by_kind(_two_of_library("fmod"), _plain("{0} % {1}")),
    "fma": _plain("{0} * {1} + {2}"),  # contracted by the compiler
    "neg": _plain("-{0}"),
    "abs": _by_kind(_plain("tl.abs({0})"), _plain("tl.abs({0})"), _SAME),
    "min": _by_kind(_extreme("minimum"), _plain("tl.minimum({0}, {1})"), _AND),
    "max": _by_kind(_extreme("maximum"), _plain("tl.maximum({0}, {1})"), _OR),
    "floor": _by_kind(_plain("tl.floor({0})"), _SAME),
    "ceil": _by_kind(_plain("tl.ceil({0})"), _SAME),
    "trunc": _by_kind(_plain("libdevice.trunc({0})"), _SAME),
    "round_even": _by_kind(_plain("libdevice.rint({0})"), _SAME),
    "sqrt": _float_only("tl.sqrt({0})"),
    "rsqrt": _float_only("tl.rsqrt({0})"),
    "exp": _float_only("tl.exp({0})"),
    "log": _float_only("tl.log({0})"),
    "sin": _float_only("tl.sin({0})"),
    "cos": _float_only("tl.cos({0})"),
    "tan": _float_only("libdevice.tan({0})"),
    "tanh": _float_only("libdevice.tanh({0})"),
    "erf": _float_only("tl.erf({0})"),
    "sigmoid": _float_only("1.0 / (1.0 + tl.exp(-{0}))"),
    "pow": _by_kind(_two_of_library("pow"), _integer_power),
    "asin": _float_only("libdevice.asin({0})"),
    "acos": _float_only("libdevice.acos({0})"),
    "atan": _float_only("libdevice.atan({0})"),
    "expm1": _float_only("libdevice.expm1({0})"),
    "log1p": _float_only("libdevice.log1p({0})"),
    "sign": _sign,
    "eq": _plain("{0} == {1}"),
    "ne": _plain("{0} != {1}"),
    "lt": _plain("{0} < {1}"),
    "le": _plain("{0} <= {1}"),
    "is_nan": _plain("{0} != {0}"),
    "where": _plain("tl.where({0}, {1}, {2})"),
    "and": _AND,
    "or": _OR,
    "xor": _plain("{0} ^ {1}"),
    "not": _by_kind(None, _complement, _plain("{0} == 0")),
    "shl": _shift("<<"),
    "shr": _shift(">>"),
}
"""The whole table of ir/prims.py."""


# -- for results that are rounded to 16 bits ------------------------------------------------------------------
_ERF = (
    3.567718209751547e-08, -1.7749690641721827e-06, 3.8815898733446375e-05, -0.0004964785766787827,
    0.004190170671790838, -0.02506239339709282, 0.11118056625127792, -0.3755396902561188, 1.1283724308013916,
)  # fmt: skip
"""erf(x) / x as a polynomial in x², highest power first, on [-3.1, 3.1]: least squares, weighted towards the largest
error. It just exceeds 1 at the ends. Off by 4e-5 at most, a sixth of what rounding to f16 loses near 1.
"""
_ERF_END = 3.1


def _rough_erf(lines: Lines, dtype: DType, x: str) -> str:
    """Half the instructions of the exact one, and none of those that special function units take."""
    if dtype.bits > 32:
        return f"tl.erf({x})"
    near = lines.let(f"tl.clamp({x}, -{_ERF_END}, {_ERF_END}, propagate_nan=tl.PropagateNan.ALL)")
    square = lines.let(f"{near} * {near}")
    total = repr(_ERF[0])
    for coefficient in _ERF[1:]:
        total = lines.let(f"{total} * {square} + {coefficient!r}")
    return f"tl.clamp({total} * {near}, -1.0, 1.0, propagate_nan=tl.PropagateNan.ALL)"


ROUGH: dict[str, Rule] = {"erf": _by_kind(_rough_erf, None)}
"""Rules for values that are rounded to f16 or bf16 in the end, where they are much cheaper."""
