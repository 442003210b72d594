"""torch's symbolic integers as expressions over names of dims, which core/dims reads."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from engineworks.errors import UnsupportedOperator
from engineworks.ir.foreign import SizeOf

Size = int | SizeOf


class Sizes:
    """The symbols of one exported program and the names that its dims get."""

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}
        """Name of a dim by torch's symbol."""

    def name_axes(self, tensor: str, shape: Sequence[Any]) -> None:
        """Name the symbols that stand alone in the shape of an input after it and the axis, unless named before."""
        for axis, size in enumerate(shape):
            expression = _expression(size)
            if getattr(expression, "is_Symbol", False):
                self.names.setdefault(expression, f"{tensor}_{axis}")

    def size(self, size: Any) -> Size:
        """A size or an integer argument: an int, or an expression over names.

        Raises:
            UnsupportedOperator: the expression holds what sizes cannot be made of (square roots, truth values).
        """
        expression = _expression(size)
        if isinstance(expression, int):
            return expression
        if expression.is_Integer:
            return int(expression)
        return SizeOf(self.text(expression))

    def text(self, expression: Any) -> str:
        """The expression in the grammar of core/dims. Raises as `size`."""
        if expression.is_Symbol:
            return self.names.setdefault(expression, str(expression))
        if expression.is_Integer:
            return f"({int(expression)})" if expression < 0 else str(int(expression))
        if expression.is_Add:
            return f"({' + '.join(self.text(a) for a in expression.args)})"
        if expression.is_Mul:
            return f"({' * '.join(self.text(a) for a in expression.args)})"
        if expression.is_Pow and expression.exp.is_Integer and expression.exp > 0:
            return f"({' * '.join([self.text(expression.base)] * int(expression.exp))})"
        name = type(expression).__name__
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](*[self.text(a) for a in expression.args])
        if name in _ROUNDINGS:
            return self._rounded(expression)
        raise UnsupportedOperator(
            f"the size {self._shown(expression)} cannot be computed in an engine: sizes are made of + - * // % min "
            f"and max. Fix the axes that it follows from, or compute it another way."
        )

    def number(self, expression: Any) -> tuple:
        """A floating-point expression as (operation, operands…), whose leaves are numbers and `SizeOf`.

        Raises:
            UnsupportedOperator: it holds an operation that the rule of "sizes.number" lacks.
        """
        if expression.is_number:
            return ("number", float(expression))
        if expression.is_integer or type(expression).__name__ == "ToFloat":
            return ("number", self.size(expression.args[0] if not expression.is_integer else expression))
        name = type(expression).__name__.removeprefix("OpaqueUnaryFn_")
        if name not in _OPERATIONS:
            raise UnsupportedOperator(
                f"the number {self._shown(expression)} cannot be computed from sizes in an engine: {name} is not among "
                f"{', '.join(_OPERATIONS)}. Compute it with tensors."
            )
        return (_OPERATIONS[name], *(self.number(a) for a in expression.args))

    def _rounded(self, expression: Any) -> str:
        """trunc, floor or ceil of a factor times an integer: torch's sizes of interpolation by a scale."""
        import sympy

        factor, rest = expression.args[0].as_coeff_Mul()
        for wrapper in ("ToFloat", "IntTrueDiv", "FloatTrueDiv"):
            if type(rest).__name__ == wrapper:
                factor, rest = factor / (rest.args[1] if len(rest.args) > 1 else 1), rest.args[0]
        if not factor.is_number or rest.has(sympy.Float):
            raise UnsupportedOperator(f"the size {self._shown(expression)} cannot be computed in an engine.")
        ratio = Fraction(float(factor)).limit_denominator(1 << 16)
        if not math.isclose(float(ratio), float(factor), rel_tol=1e-9):
            raise UnsupportedOperator(
                f"the size {self._shown(expression)}: its factor is no ratio of small integers."
            )
        product = f"({ratio.numerator} * {self.text(rest)})"
        if type(expression).__name__ == "CeilToInt":
            product = f"({product} + {ratio.denominator - 1})"
        return f"({product} // {ratio.denominator})"

    def _shown(self, expression: Any) -> str:
        """The expression in a message, with our names of the dims."""
        names = {str(symbol): name for symbol, name in self.names.items()}
        return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), str(expression))


def ranges_of(program: Any, sizes: Sizes) -> dict[str, tuple[int, int | None]]:
    """(lowest, highest) by name of dim, as torch.export found or was told them.

    A lowest of 2 is torch's own assumption about every dynamic size, no fact about the model: it is read as 1.
    """
    found: dict[str, tuple[int, int | None]] = {}
    for symbol, limits in program.range_constraints.items():
        if symbol in sizes.names:
            low, high = limits.lower, limits.upper
            lowest = int(low) if low.is_Integer and low > 2 else 1
            found[sizes.names[symbol]] = (lowest, int(high) if high.is_Integer else None)
    return found


def _expression(size: Any) -> Any:
    """The sympy expression behind a SymInt; plain integers as they are."""
    return size.node.expr if hasattr(size, "node") else size


def _modular(base: str, divisor: str, modulus: str) -> str:
    return f"(({base} // {divisor}) % {modulus})"


_FUNCTIONS: Mapping[str, Callable[..., str]] = {
    "FloorDiv": lambda a, b: f"({a} // {b})",
    "CleanDiv": lambda a, b: f"({a} // {b})",
    "CeilDiv": lambda a, b: f"(({a} + {b} - 1) // {b})",
    "Mod": lambda a, b: f"({a} % {b})",
    "PythonMod": lambda a, b: f"({a} % {b})",
    "ModularIndexing": _modular,
    "Max": lambda *a: f"max({', '.join(a)})",
    "Min": lambda *a: f"min({', '.join(a)})",
    "Identity": lambda a: a,
}
"""What torch and sympy call the operations on sizes, by class name."""

_OPERATIONS: Mapping[str, str] = {
    "Add": "add", "Mul": "mul", "IntTrueDiv": "div", "FloatTrueDiv": "div", "FloatPow": "pow", "Pow": "pow",
    "PowByNatural": "pow", "Max": "max", "Min": "min", "sqrt": "sqrt", "exp": "exp", "log": "log", "sin": "sin",
    "cos": "cos", "tan": "tan", "tanh": "tanh",
}  # fmt: skip
"""What torch and sympy call the operations on numbers that follow from sizes, and what ops/size_numbers.py does."""

_ROUNDINGS = ("TruncToInt", "FloorToInt", "CeilToInt", "floor", "ceiling")
