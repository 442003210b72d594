"""Sizes of tensors: plain integers where known, canonical integer polynomials over named symbols where not.

`Dim = int | Sym`. A `Sym` is a sorted sum of monomials with integer coefficients over atoms: named symbols,
`e//k`, `e%k`, `min(...)` and `max(...)`. Equal polynomials are equal objects: `==` and `hash` are structural.
Questions that only bounds can answer have three answers (`known_equal`), or raise `Undecided` (`bool`, `<`).
There is no solver: intervals and divisibility only.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeVar

from engineworks.core.polynomial import (
    Atom,
    Dim,
    DimLike,
    Monomial,
    Sym,
    bounds,
    dim_max,
    dim_min,
    factors_of,
    facts_of,
    known_at_most,
    known_equal,
    known_less,
    known_positive,
    multiple_of,
    of_atom,
    ranges_text,
    symbol_atoms,
)
from engineworks.errors import InvalidInput, InvalidModel

__all__ = [
    "Check",
    "Dim",
    "DimLike",
    "Scope",
    "Sym",
    "bounds",
    "ceil_div",
    "dim_max",
    "dim_min",
    "evaluate",
    "fold_dim",
    "known_at_most",
    "known_equal",
    "known_less",
    "known_positive",
    "multiple_of",
    "parse_dim",
    "product",
    "substitute",
    "symbol",
    "symbol_facts",
    "symbols_of",
]

T = TypeVar("T")


# -- making and taking apart ---------------------------------------------------------------------------------
def symbol(name: str, lo: int = 1, hi: int | None = None, multiple_of: int = 1) -> Sym:
    """A named size, known to lie in [lo, hi] and to be a multiple of `multiple_of`.

    The facts are part of its identity: the same name with other bounds is another symbol.

    Raises:
        ValueError: no integer has these properties, or the name is empty or holds a back quote.
    """
    if not name or "`" in name:
        raise ValueError(f"symbol {name!r}: a name is not empty and holds no back quote")
    if multiple_of < 1:
        raise ValueError(f"symbol {name!r}: multiple_of={multiple_of} is not positive")
    least = ceil_div(lo, multiple_of)
    most = None if hi is None else hi // multiple_of
    if most is not None and most < least:
        raise ValueError(f"symbol {name!r}: no multiple of {multiple_of} lies in its range, lo={lo} hi={hi}")
    # pyrefly: ignore[bad-return]
    return of_atom(Atom("symbol", (name, least, most, multiple_of))) * multiple_of


def fold_dim(
    d: Dim,
    *,
    const: Callable[[int], T],
    symbol: Callable[[str], T],
    add: Callable[[T, T], T],
    mul: Callable[[T, T], T],
    floordiv: Callable[[T, T], T],
    mod: Callable[[T, T], T],
    min: Callable[[T, T], T],
    max: Callable[[T, T], T],
) -> T:
    """The dim computed in another arithmetic, bottom up; the only traversal of the meaning of a dim.

    `floordiv` rounds towards minus infinity and `mod` takes the divisor's sign, as in Python. Divisors are
    positive; numerators may be negative (`bounds` tells).
    """
    operations = {"floordiv": floordiv, "mod": mod, "min": min, "max": max}

    def of_factor(atom: Atom, divisor: int) -> T:
        if atom.kind == "symbol":
            value = symbol(atom.arguments[0])
            return value if divisor == 1 else floordiv(value, const(divisor))
        return reduce(operations[atom.kind], [of_dim(a) for a in atom.arguments])

    def of_term(monomial: Monomial, coefficient: int) -> T:
        coefficient, pairs = factors_of(monomial, coefficient)
        factors = [of_factor(atom, divisor) for atom, divisor in pairs]
        return reduce(mul, factors if coefficient == 1 and factors else [const(coefficient), *factors])

    def of_dim(e: Dim) -> T:
        return const(e) if isinstance(e, int) else reduce(add, [of_term(m, c) for m, c in e.terms])

    return of_dim(d)


def substitute(d: Dim, values: Mapping[str, Dim]) -> Dim:
    """The dim with symbols replaced by name, all at once; symbols without a value stay."""
    if isinstance(d, int):
        return d
    kept = {a.arguments[0]: of_atom(a) * a.arguments[3] for a in symbol_atoms(d)}
    # pyrefly: ignore[bad-argument-type]
    return fold_dim(d, const=lambda c: c, symbol=lambda name: values.get(name, kept[name]), **_DIM_ARITHMETIC)


def evaluate(d: Dim, values: Mapping[str, int]) -> int:
    """The integer that the dim is for these values of its symbols.

    Raises:
        InvalidInput: a symbol has no value.
    """
    if isinstance(d, int):
        return d
    missing = sorted(symbols_of(d) - values.keys())
    if missing:
        raise InvalidInput(
            f"cannot compute {d}: no value for {', '.join(missing)}. Bind the inputs that have these sizes."
        )
    return fold_dim(d, const=lambda c: c, symbol=lambda name: int(values[name]), **_INT_ARITHMETIC)


def symbols_of(d: Dim) -> frozenset[str]:
    """Names of the symbols that the dim depends on."""
    return frozenset() if isinstance(d, int) else frozenset(a.arguments[0] for a in symbol_atoms(d))


def symbol_facts(d: Dim) -> dict[str, tuple[int, int | None, int]]:
    """(lo, hi, multiple_of) of each symbol that the dim depends on."""
    return {} if isinstance(d, int) else {a.arguments[0]: facts_of(a) for a in symbol_atoms(d)}


# -- arithmetic beyond the operators -------------------------------------------------------------------------
def product(dims: Iterable[Dim]) -> Dim:
    """The product; 1 for no dims."""
    out: Dim = 1
    for d in dims:
        out = out * d
    return out


def ceil_div(a: Dim, b: Dim) -> Dim:
    """a / b rounded towards plus infinity, for b > 0."""
    return -(-a // b) if isinstance(a, int) and isinstance(b, int) else (a + b - 1) // b


# -- text ----------------------------------------------------------------------------------------------------
def parse_dim(text: str, symbols: Mapping[str, Dim] | Callable[[str], Dim] = symbol) -> Dim:
    """The dim that `str` printed as `text`; names are looked up in `symbols` (default: new ones, lo=1).

    Grammar: integers, names (in back quotes unless identifiers), + - * // %, parentheses, min(…), max(…).

    Raises:
        ValueError: not in this grammar, or a name is not in `symbols`.
    """
    names: list[str] = []

    def quoted(match: re.Match[str]) -> str:
        names.append(match[1])
        return f" __quoted_{len(names) - 1} "

    look_up = symbols if callable(symbols) else symbols.__getitem__

    def walk(node: ast.expr) -> Dim:
        match node:
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                return value
            case ast.Name(id=name):
                return look_up(names[int(name[9:])] if name.startswith("__quoted_") else name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -walk(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _PARSED:
                return _PARSED[type(op)](walk(left), walk(right))
            case ast.Call(func=ast.Name(id="min" | "max" as kind), args=arguments, keywords=[]) if arguments:
                return _EXTREMES[kind](*(walk(a) for a in arguments))
        raise ValueError(f"cannot read {text!r} as a size: {ast.unparse(node)!r} is not allowed in one")

    try:
        return walk(ast.parse(re.sub(r"`([^`]+)`", quoted, text).strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"cannot read {text!r} as a size: {error.msg}") from error
    except KeyError as error:
        raise ValueError(f"cannot read {text!r} as a size: there is no symbol {error.args[0]!r}") from error


_PARSED: dict[type, Callable[[Dim, Dim], Dim]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_INT_ARITHMETIC = {
    "add": operator.add,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": min,
    "max": max,
}
_EXTREMES = {"min": dim_min, "max": dim_max}
_DIM_ARITHMETIC = _INT_ARITHMETIC | _EXTREMES


@dataclass(frozen=True, slots=True)
class Check:
    """An equality that only the sizes of a call can decide; `message` is what to say when it fails."""

    left: Dim
    right: Dim
    message: str

    def __str__(self) -> str:
        return f"{self.left} == {self.right}"


@dataclass(slots=True)
class Scope:
    """The symbols of one graph, and the equalities it needs that bounds could not decide."""

    symbols: dict[str, Sym] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def symbol(self, name: str, lo: int = 1, hi: int | None = None, multiple_of: int = 1) -> Sym:
        """Declare a symbol; the same facts again give the same symbol.

        Raises:
            ValueError: declared before with other facts.
        """
        made = symbol(name, lo, hi, multiple_of)
        if self.symbols.setdefault(name, made) != made:
            raise ValueError(
                f"symbol {name!r} was declared as {ranges_text(self.symbols[name])}, now {ranges_text(made)}"
            )
        return made

    def fresh(self, prefix: str, lo: int = 0, hi: int | None = None) -> Sym:
        """A symbol with a name not used before, such as the data-dependent size of an output."""
        number = next(n for n in range(len(self.symbols) + 1) if f"{prefix}{n}" not in self.symbols)
        return self.symbol(f"{prefix}{number}", lo, hi)

    def parse(self, text: str) -> Dim:
        """The dim that `text` says, over the declared symbols only."""
        return parse_dim(text, self.symbols)

    def require(self, a: Dim, b: Dim, why: str) -> None:
        """Record that a == b must hold, unless it is known to.

        Args:
            why: who needs it, such as "matmul 'enc.0.q': inner dims".
        Raises:
            InvalidModel: known not to hold for any sizes.
        """
        match known_equal(a, b):
            case False:
                raise InvalidModel(
                    f"{why}: {a} is never {b}" + (f" for {ranges_text(a, b)}" if ranges_text(a, b) else "")
                )
            case None:
                check = Check(a, b, f"{why}: {a} must be {b}")
                if check not in self.checks:
                    self.checks.append(check)


_active: ContextVar[Scope | None] = ContextVar("active scope", default=None)


@contextmanager
def deciding_in(scope: Scope) -> Iterator[None]:
    """While types are inferred for a graph, sizes that cannot be decided equal become checks of its scope.

    `Op.infer` sees types only; this is how the graph's scope reaches the shape rules beneath it.
    """
    token = _active.set(scope)
    try:
        yield
    finally:
        _active.reset(token)


def active_scope() -> Scope | None:
    """The scope of the graph whose types are being inferred, if any."""
    return _active.get()
