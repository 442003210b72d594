"""The textual form of graphs: printer. `parse_graph` (engineworks.ir.parse) reads it back.

    dim B in 1..8
    graph mlp(x: f32[B, 64]) -> y
      w = const f32[64, 10] @a1b2c3d4e5f60718
      h = matmul(x, w) : f32[B, 10] ; origin fc1
      y = softmax(h, axis=-1) : f32[B, 10] ; origin prob

Names that are no identifiers stand in back quotes, values without a name are $0, $1 …, omitted inputs are `_`.
Constants of up to eight elements are written out, larger ones by content hash. Bodies are graphs in braces.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Sym, symbol_facts
from engineworks.core.dtypes import DType
from engineworks.core.types import Layout, TensorType
from engineworks.ir.graph import Graph, Node, Region, Value
from engineworks.ir.op import Op
from engineworks.ir.parse import parse_graph

__all__ = ["parse_graph", "print_graph", "quoted"]

MAX_WRITTEN_ELEMENTS = 8
BARE_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*(?:~\d+)?")
RESERVED = frozenset(
    {"_", "const", "dim", "graph", "in", "by", "origin", "True", "False", "None", "inf", "nan"}
)


def print_graph(graph: Graph, *, canonical: bool = False) -> str:
    """The graph as text.

    Args:
        canonical: neither names nor origins, so that equal bodies give equal text.
    """
    return "\n".join([*_dim_lines(graph), *_Printer(graph, canonical).lines("")])


def quoted(name: str) -> str:
    """A name as it is written: bare where the grammar allows, else in back quotes."""
    if BARE_NAME.fullmatch(name) and name not in RESERVED:
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`").replace("\n", "\\n") + "`"


class _Printer:
    """Prints one graph; `names` are unique within it."""

    def __init__(self, graph: Graph, canonical: bool) -> None:
        self.graph = graph
        self.canonical = canonical
        self.names: dict[int, str] = {}
        self.taken: set[str] = set()
        self.unnamed = 0

    def lines(self, indent: str) -> Iterator[str]:
        """Header, then a line for each constant and node."""
        inputs = ", ".join(f"{self._define(v)}: {v.type}{_known(v)}" for v in self.graph.inputs)
        body = [f"{indent}  {line}" for line in self._statements(indent + "  ")]
        outputs = ", ".join(
            self._output(n, v) for n, v in zip(self.graph.output_names, self.graph.outputs, strict=True)
        )
        name = "body" if self.canonical else quoted(self.graph.name)
        yield f"{indent}graph {name}({inputs}) -> {outputs}"
        yield from body

    def _statements(self, indent: str) -> Iterator[str]:
        for node in self.graph.nodes:
            for value in node.inputs:
                yield from self._constant(value)
            arguments = ["_" if v is None else self._use(v, node) for v in node.inputs]
            call = _call(node.op, arguments, indent, self.canonical)
            left = ", ".join(self._define(v) for v in node.outputs)
            types = ", ".join(str(v.type) for v in node.outputs)
            origin = "" if self.canonical else " ; origin " + ", ".join(quoted(n) for n in node.origin)
            yield f"{left} = {call} : {types}{origin}"
        for value in self.graph.outputs:
            yield from self._constant(value)

    def _constant(self, value: Value | None) -> Iterator[str]:
        if value is not None and value.is_constant and id(value) not in self.names:
            yield f"{self._define(value)} = const {value.type} {_written(value)}"

    def _output(self, name: str, value: Value) -> str:
        used = self.names[id(value)]
        if self.canonical:
            return used
        return used if used == quoted(name) else f"{quoted(name)}={used}"

    def _use(self, value: Value, node: Node) -> str:
        assert id(value) in self.names, f"{node} reads {value}, which nothing before it defines"
        return self.names[id(value)]

    def _define(self, value: Value) -> str:
        if value.name and not self.canonical:
            name, number = value.name, 2
            while name in self.taken:
                name, number = f"{value.name}~{number}", number + 1
            self.taken.add(name)
            written = quoted(name)
        else:
            written = f"${self.unnamed}"
            self.unnamed += 1
        self.names[id(value)] = written
        return written


def _call(op: Op, arguments: list[str], indent: str, canonical: bool) -> str:
    shown = [
        f"{f.name}={_attribute(getattr(op, f.name), indent, canonical)}"
        for f in dataclasses.fields(op)  # type: ignore[arg-type]
        if not _is_default(getattr(op, f.name), f.default)
    ]
    return f"{op.name}({', '.join(arguments + shown)})"


def _is_default(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default


def _attribute(value: Any, indent: str, canonical: bool) -> str:
    """An attribute's value in the grammar; what the grammar has no form for stands as <text> and does not parse."""
    match value:
        case Region():
            inner = "\n".join(_Printer(value.graph, canonical).lines(indent + "  "))
            return f"{{\n{inner}\n{indent}}}"
        case tuple() | list():
            items = [_attribute(v, indent, canonical) for v in value]
            return "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
        case Layout():
            return f"layout({_attribute(value.order, indent, canonical)}, {value.row_pad})"
        case Op():
            return _call(value, [], indent, canonical)
    return _plain(value)


def _plain(value: Any) -> str:
    """A value without parts."""
    match value:
        case enum.Enum():
            return repr(value.value)
        case float() | np.floating():
            return repr(float(value))
        case str() | bytes():
            return repr(value)
        case bool() | np.bool_() | None | int() | np.integer() | Sym() | DType() | TensorType():
            return str(value)
    return f"<{value}>"


# -- constants and dims ----------------------------------------------------------------------------------------
def _written(value: Value) -> str:
    array, constant = value.array, value.constant
    assert constant is not None
    exact = value.type.dtype.kind != "string" and not (
        value.type.dtype.is_float and np.isnan(array.astype(np.float64)).any()
    )
    if array.size > MAX_WRITTEN_ELEMENTS or not exact:
        return f"@{constant.hash}"
    kind = float if value.type.dtype.is_float else bool if value.type.dtype.kind == "bool" else int
    items = [repr(kind(x)) for x in array.ravel()]
    return items[0] if array.ndim == 0 else "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"


def _known(value: Value) -> str:
    """The known elements of an input that carries sizes into a body."""
    if value.known is None:
        return ""
    items = [str(d) for d in value.known.ravel()]
    return " == " + (
        items[0] if value.known.ndim == 0 else "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
    )


def _dim_lines(graph: Graph) -> Iterator[str]:
    """One line for each symbol about which more is known than that it is at least 1."""
    dtype_names = {d.name for d in dtypes.ALL}
    facts: dict[str, tuple[int, int | None, int]] = {}
    for part in _symbolic_parts(graph):
        facts |= symbol_facts(part)
    for name, (low, high, step) in sorted(facts.items()):
        if (low, high, step) != (1, None, 1) or name in dtype_names or name in RESERVED:
            high_text = "" if high is None else str(high)
            yield f"dim {quoted(name)} in {low}..{high_text}" + (f" by {step}" if step != 1 else "")


def _symbolic_parts(graph: Graph) -> Iterator[Sym]:
    for value in graph.values():
        yield from _symbols(value.type.shape)
    for value in graph.inputs:
        if value.known is not None:
            yield from _symbols(tuple(value.known.ravel()))
    for node in graph.nodes:
        yield from _symbols(tuple(node.op.attributes().values()))


def _symbols(value: object) -> Iterator[Sym]:
    match value:
        case Sym():
            yield value
        case tuple() | list():
            for item in value:
                yield from _symbols(item)
        case TensorType():
            yield from _symbols(value.shape)
        case Region():
            yield from _symbolic_parts(value.graph)
