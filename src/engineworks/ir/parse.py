"""The textual form of graphs: parser (the grammar is described in engineworks.ir.text)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, parse_dim, symbol
from engineworks.core.types import Layout, TensorType
from engineworks.errors import Error
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Region, Value
from engineworks.ir.op import REGISTRY

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<quoted>`(?:[^`\\]|\\.)*`)
    |(?P<string>b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*")
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<unnamed>\$\d+)
    |(?P<hash>@[0-9a-f]+)
    |(?P<opaque><(?!=)[^\n]*>)
    |(?P<name>[A-Za-z_]\w*(?:\.\w+)*(?:~\d+)?)
    |(?P<mark>->|//|\.\.|==|[-+*%(),:;=\[\]{}])""",
    re.VERBOSE,
)
_DTYPES = {d.name for d in dtypes.ALL}
_UNNAMED = "\0"
"""In front of the names of values without a name, which no name of a user begins with."""
_WORDS = {"True": True, "False": False, "None": None, "inf": float("inf"), "nan": float("nan")}


def parse_graph(text: str, constants: Mapping[str, np.ndarray] | None = None) -> Graph:
    """The graph that `print_graph` wrote; types are inferred again and must equal the written ones.

    Args:
        constants: arrays by content hash, for those that are not written out.
    Raises:
        Error: not in the grammar, an unknown name, a wrong type; the message gives the line.
    """
    parser = _Parser(text, constants or {})
    graph = parser.graph()
    if parser.token.text:
        raise parser.wrong("the end of the text")
    return graph


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def _tokens(text: str) -> list[_Token]:
    out: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise Error(f"line {line}: {text[position : position + 20]!r} is not part of the textual form")
        if match.lastgroup != "space":
            out.append(_Token(match.lastgroup or "", match[0], match.start(), match.end()))
        position = match.end()
    return [*out, _Token("end", "", position, position)]


class _Parser:
    """Recursive descent over tokens; `values` are those of the graph being read."""

    def __init__(self, text: str, constants: Mapping[str, np.ndarray]) -> None:
        self.text = text
        self.constants = constants
        self.tokens = _tokens(text)
        self.position = 0
        self.declared: dict[str, Dim] = {}
        self.values: dict[str, Value] = {}
        self.g = GraphBuilder()

    # -- tokens --------------------------------------------------------------------------------------------------
    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def take(self) -> _Token:
        self.position += 1
        return self.tokens[self.position - 1]

    def accept(self, mark: str) -> bool:
        if self.token.text == mark:
            self.position += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            raise self.wrong(f"'{mark}'")

    def wrong(self, wanted: str) -> Error:
        line = self.text.count("\n", 0, self.token.start) + 1
        return Error(f"line {line}: {wanted} is expected at '{self.token.text or 'the end'}'")

    def name(self) -> str:
        """A name as the user knows it; that of a value without one ('$3') is marked, for a user may write it too."""
        if self.token.kind == "quoted":
            inner = self.take().text[1:-1]
            return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], inner)
        if self.token.kind not in ("name", "unnamed"):
            raise self.wrong("a name")
        mark = _UNNAMED if self.token.kind == "unnamed" else ""
        return mark + self.take().text

    def listed(self, item: Callable[[], Any], end: str) -> list[Any]:
        """Items separated by commas up to `end`, which is taken."""
        out = []
        while not self.accept(end):
            out.append(item())
            if not self.accept(","):
                self.expect(end)
                break
        return out

    # -- graphs --------------------------------------------------------------------------------------------------
    def graph(self) -> Graph:
        while self.accept("dim"):
            self.dim_line()
        outside = self.g, self.values
        self.expect("graph")
        self.g = GraphBuilder(Graph(self.name()))
        self.values = {}
        self.expect("(")
        self.listed(self.graph_input, ")")
        self.expect("->")
        outputs = [] if self.starts_statement() or self.token.text in ("", "}") else [self.graph_output()]
        while self.accept(","):
            outputs.append(self.graph_output())
        while self.token.text not in ("", "}"):
            self.statement()
        for name, used in outputs:
            self.g.output(self.value(used), name)
        graph = self.g.graph
        self.g, self.values = outside
        return graph

    def starts_statement(self) -> bool:
        """A graph without outputs: 'name = const' or 'name = op(' follows the arrow at once."""
        ahead = [t.text for t in self.tokens[self.position + 1 : self.position + 4]]
        return ahead[:2] == ["=", "const"] or (ahead[:1] == ["="] and ahead[2:3] == ["("])

    def dim_line(self) -> None:
        name = self.name()
        self.expect("in")
        low = int(self.take().text)
        self.expect("..")
        high = int(self.take().text) if self.token.kind == "number" else None
        step = int(self.take().text) if self.accept("by") else 1
        self.declared[name] = symbol(name, low, high, step)

    def graph_input(self) -> None:
        name = self.name()
        self.expect(":")
        kind = self.type()
        value = self.g.input("" if name.startswith(_UNNAMED) else name, kind.dtype, kind.shape)
        value.type = kind
        if self.accept("=="):
            known = np.array(self.attribute(), dtype=object)
            value.known = known.reshape(tuple(int(d) for d in kind.shape))  # type: ignore[arg-type]
        self.define(name, value)

    def graph_output(self) -> tuple[str, str]:
        name = self.name()
        return (name, self.name()) if self.accept("=") else (name, name)

    def define(self, name: str, value: Value) -> None:
        if name in self.values:
            raise Error(f"'{name.removeprefix(_UNNAMED)}' is defined twice in graph '{self.g.graph.name}'")
        value.name = "" if name.startswith(_UNNAMED) else name
        self.values[name] = value

    def value(self, name: str) -> Value:
        if name not in self.values:
            raise Error(
                f"'{name.removeprefix(_UNNAMED)}' is read in graph '{self.g.graph.name}' before anything defines it"
            )
        return self.values[name]

    # -- statements ------------------------------------------------------------------------------------------------
    def statement(self) -> None:
        names = [self.name()]
        while self.accept(","):
            names.append(self.name())
        self.expect("=")
        if self.accept("const"):
            self.define(names[0], self.constant())
        else:
            self.node(names)

    def constant(self) -> Value:
        kind = self.type()
        if self.token.kind == "hash":
            key = self.take().text[1:]
            if key not in self.constants:
                raise Error(f"no array is given for constant @{key} of {kind}; pass it in constants=")
            array = np.asarray(self.constants[key])
        else:
            written = self.attribute() if self.token.text == "(" else self.scalar()
            array = np.array(written, dtype=object).astype(kind.dtype.numpy)
        value = self.g.constant(array.reshape(tuple(int(d) for d in kind.shape)), kind.dtype)  # type: ignore[arg-type]
        value.type = kind
        return value

    def scalar(self) -> Any:
        """A number, a word for one, or a string: no mark ends it but the next line."""
        sign = -1 if self.accept("-") else 1
        token = self.take()
        if token.text in _WORDS:
            value = _WORDS[token.text]
            return value if sign == 1 or value is None else -value
        if token.kind not in ("number", "string"):
            raise Error(f"{token.text!r} is no constant")
        value = ast.literal_eval(token.text)
        return value if token.kind == "string" else sign * value

    def node(self, names: list[str]) -> None:
        kind = self.name()
        if kind not in REGISTRY:
            raise Error(f"no operator is called '{kind}'")
        self.expect("(")
        inputs: list[Value | None] = []
        attributes: dict[str, Any] = {}
        self.listed(lambda: self.argument(inputs, attributes), ")")
        self.expect(":")
        types = [self.type()]
        while self.accept(","):
            types.append(self.type())
        origin = [self.graph_name()]
        if self.accept(";"):
            self.expect("origin")
            origin = [self.name()]
            while self.accept(","):
                origin.append(self.name())
        with self.g.origin(*origin):
            outputs = self.g.add_node(REGISTRY[kind](**attributes), inputs)
        self.check(names, outputs, types)

    def graph_name(self) -> str:
        return self.g.graph.name

    def check(self, names: list[str], outputs: list[Value], types: list[TensorType]) -> None:
        if len(names) != len(outputs) or len(types) != len(outputs):
            raise Error(f"{', '.join(names)}: the operator has {len(outputs)} outputs")
        for name, value, kind in zip(names, outputs, types, strict=True):
            if value.type.with_layout(None) != kind.with_layout(None):
                raise Error(f"'{name}' is written as {kind}, but is {value.type}")
            value.type = kind
            self.define(name, value)

    def argument(self, inputs: list[Value | None], attributes: dict[str, Any]) -> None:
        if self.token.kind == "name" and self.tokens[self.position + 1].text == "=":
            key = self.take().text
            self.take()
            attributes[key] = self.attribute()
        elif self.accept("_"):
            inputs.append(None)
        else:
            inputs.append(self.value(self.name()))

    # -- types and attributes --------------------------------------------------------------------------------------
    def type(self) -> TensorType:
        if self.token.text not in _DTYPES:
            raise self.wrong("a type such as f32[2, 3]")
        dtype = dtypes.by_name(self.take().text)
        self.expect("[")
        shape = tuple(self.listed(self.dim, "]"))
        return TensorType(dtype, shape, self.braced_layout() if self.accept("{") else None)

    def braced_layout(self) -> Layout:
        order = tuple(int(c) for c in self.take().text)
        pad = int(self.take().text) if self.accept("+") else 0
        self.expect("}")
        return Layout(order, pad)

    def dim(self) -> Dim:
        text = self.expression()
        try:
            return parse_dim(
                text, lambda name: self.declared[name] if name in self.declared else symbol(name)
            )
        except ValueError as error:
            raise Error(str(error)) from error

    def expression(self) -> str:
        """The raw text up to the next comma or closing mark at this depth."""
        start, depth = self.token.start, 0
        while self.token.text and not (depth == 0 and self.token.text in (",", "]", ")", "}", ":", ";")):
            depth += {"(": 1, ")": -1}.get(self.token.text, 0)
            self.position += 1
        if start == self.token.start:
            raise self.wrong("a value")
        return self.text[start : self.tokens[self.position - 1].end]

    def attribute(self) -> Any:
        """A Python value, a dim, a dtype, a type, a layout, a region or an op."""
        word, following = self.token.text, self.tokens[self.position + 1].text
        if self.accept("{"):
            region = Region(self.graph())
            self.expect("}")
            return region
        if self.token.kind == "string":
            return ast.literal_eval(self.take().text)
        if self.token.kind == "opaque":
            raise Error(f"attribute {word} has no textual form that can be read back")
        if word == "(":
            return self.tuple_or_dim()
        if word in _WORDS and word not in self.declared:
            self.take()
            return _WORDS[word]
        if word == "-" and following == "inf":
            self.position += 2
            return float("-inf")
        if word in _DTYPES and word not in self.declared:
            return self.type() if following == "[" else dtypes.by_name(self.take().text)
        if following == "(" and word not in ("min", "max"):
            return self.called()
        return self.number_or_dim()

    def tuple_or_dim(self) -> Any:
        """'(a, b)' is a tuple; '(a + b)//2' is a dim: what follows the closing mark tells."""
        depth, end = 0, self.position
        while self.tokens[end].text:
            depth += {"(": 1, ")": -1}.get(self.tokens[end].text, 0)
            end += 1
            if depth == 0:
                break
        if self.tokens[end].text in ("//", "*", "%", "+", "-"):
            return self.number_or_dim()
        self.take()
        return tuple(self.listed(self.attribute, ")"))

    def number_or_dim(self) -> Any:
        start = self.position
        text = self.expression()
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            self.position = start
            return self.dim()

    def called(self) -> Any:
        word = self.name()
        self.expect("(")
        if word == "layout":
            order, pad = self.listed(self.attribute, ")")
            return Layout(order, pad)
        attributes: dict[str, Any] = {}
        self.listed(lambda: self.argument([], attributes), ")")
        if word not in REGISTRY:
            raise Error(f"no operator is called '{word}'")
        return REGISTRY[word](**attributes)
