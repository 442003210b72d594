"""Integer expressions as text, such as '2*B*S + 1' or 'max((N + 3)//4, 1)', compiled to a function of the
names' values.

Engine files hold sizes in this form; nothing but arithmetic can be written in it, so evaluating a file is
safe.

    sum     = product { ("+" | "-") product }
    product = sign { ("*" | "//" | "%") sign }
    sign    = { "-" } atom
    atom    = integer | name | "`" any name "`" | ("min" | "max") "(" sum { "," sum } ")" | "(" sum ")"

`//` and `%` round towards minus infinity, as in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

Evaluate = Callable[[Mapping[str, int]], int]

MAX_LENGTH = 8192
"""Characters of one expression; with MAX_DEPTH it bounds the work that a damaged file can ask for."""
MAX_DEPTH = 48
"""Nested parentheses."""

_TOKEN = re.compile(r"\s*(?:(\d{1,19})(?![\w.])|([A-Za-z_][\w.]*|`[^`]+`)|(//|[-+*%(),]))")


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: as it was written.
        names: what it depends on, each once, in order of appearance.
        evaluate: its value for a mapping of names to integers; ZeroDivisionError for a divisor of zero.
    """

    text: str
    names: tuple[str, ...]
    evaluate: Evaluate = field(repr=False, compare=False)


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """The expression written in `text`.

    Raises:
        ValueError: the text is not an expression; the message shows where.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"an expression of {len(text)} characters; at most {MAX_LENGTH} are accepted")
    parser = _Parser(text)
    evaluate = parser.sum()
    parser.expect("")
    return Expression(text, tuple(dict.fromkeys(parser.names)), evaluate)


def evaluate(dim: int | str, values: Mapping[str, int]) -> int:
    """The value of a dim as engine files write it: an integer, or an expression over `values`.

    Raises:
        ValueError: malformed text, an unknown name, or a division by zero.
    """
    if isinstance(dim, int):
        return dim
    try:
        return parse(dim).evaluate(values)
    except KeyError as missing:
        raise ValueError(f"'{dim}' uses {missing}, which has no value") from None
    except ZeroDivisionError:
        raise ValueError(f"'{dim}' divides by zero for {dict(values)}") from None


def names_of(dim: int | str) -> tuple[str, ...]:
    """The names a dim depends on; none for an integer."""
    return () if isinstance(dim, int) else parse(dim).names


class _Parser:
    """Recursive descent; sums and products are flat lists, so only parentheses nest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: list[str] = []
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def peek(self) -> str:
        return self._tokens[self._next][0]

    def take(self) -> str:
        token = self._tokens[self._next][0]
        self._next += token != ""
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token:
            found, at = self._tokens[self._next]
            wanted = f"'{token}'" if token else "the end"
            raise ValueError(
                f"'{self.text}': expected {wanted} at character {at}, found '{found or 'the end'}'"
            )
        self.take()

    def sum(self) -> Evaluate:
        steps = [("+", self.product())]
        while self.peek() in ("+", "-"):
            operator = self.take()
            steps.append((operator, self.product()))
        return _chain(steps)

    def product(self) -> Evaluate:
        steps = [("*", self.sign())]
        while self.peek() in ("*", "//", "%"):
            operator = self.take()
            steps.append((operator, self.sign()))
        return _chain(steps)

    def sign(self) -> Evaluate:
        negative = False
        while self.peek() == "-":
            self.take()
            negative = not negative
        atom = self.atom()
        return (lambda values: -atom(values)) if negative else atom

    def atom(self) -> Evaluate:
        token = self.take()
        if token.isdigit():
            number = int(token)
            return lambda values: number
        if token == "(":
            inner = self._nested()[0]
            return inner
        if token in ("min", "max") and self.peek() == "(":
            self.take()
            parts = self._nested(many=True)
            extreme = min if token == "min" else max
            return lambda values: extreme(part(values) for part in parts)
        if token and (token[0].isalpha() or token[0] in "_`"):
            name = token.strip("`")
            self.names.append(name)
            return lambda values: values[name]
        raise ValueError(f"'{self.text}': expected a number, a name or '(', found '{token or 'the end'}'")

    def _nested(self, *, many: bool = False) -> list[Evaluate]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"'{self.text[:40]}…': parentheses nest deeper than {MAX_DEPTH}")
        parts = [self.sum()]
        while many and self.peek() == ",":
            self.take()
            parts.append(self.sum())
        self.expect(")")
        self._depth -= 1
        return parts


def _chain(steps: Sequence[tuple[str, Evaluate]]) -> Evaluate:
    if len(steps) == 1:
        return steps[0][1]
    first, rest = steps[0][1], tuple(steps[1:])

    def run(values: Mapping[str, int]) -> int:
        total = first(values)
        for operator, part in rest:
            total = _APPLY[operator](total, part(values))
        return total

    return run


_APPLY: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}


def _tokens(text: str) -> list[tuple[str, int]]:
    """(token, its position) pairs; the last token is ''."""
    out: list[tuple[str, int]] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(
                f"'{text}': '{text[at:].lstrip()[:1]}' at character {at} is not part of an expression"
            )
        out.append((match.group(match.lastindex or 0), match.start(match.lastindex or 0)))
        at = match.end()
    return [*out, ("", end)]
