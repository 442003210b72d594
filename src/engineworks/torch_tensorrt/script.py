"""TorchScript from a graph of engines and PyTorch's operators: source text, one line a node."""

from __future__ import annotations

import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from engineworks.errors import Unsupported
from engineworks.torch_tensorrt.partition import returned
from engineworks.torch_tensorrt.structure import Arguments, Result

_INFIX: Mapping[Any, str] = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.floordiv: "//", operator.truediv: "/",
    operator.mod: "%", operator.pow: "**", operator.eq: "==", operator.ne: "!=", operator.lt: "<", operator.le: "<=",
    operator.gt: ">", operator.ge: ">=",
}  # fmt: skip
_CALLS: Mapping[Any, str] = {
    operator.neg: "-{0}", torch.sym_int: "int({0})", torch.sym_float: "float({0})", torch.sym_not: "(not {0})",
    torch.sym_max: "max({0}, {1})", torch.sym_min: "min({0}, {1})", torch.sym_ite: "({1} if {0} else {2})",
    math.ceil: "math.ceil({0})", math.floor: "math.floor({0})", math.trunc: "int({0})",
    operator.getitem: "{0}[{1}]",
    torch.ops.aten.sym_size.int: "{0}.size({1})", torch.ops.aten.sym_numel.default: "{0}.numel()",
    torch.ops.aten.sym_stride.int: "{0}.stride({1})", torch.ops.aten.sym_storage_offset.default: "{0}.storage_offset()",
}  # fmt: skip


def script(graph: fx.GraphModule, arguments: Arguments, result: Result, name: str) -> torch.jit.ScriptModule:
    """The graph as a ScriptModule, its tensors as buffers.

    Args:
        name: of the class in TorchScript.
    Raises:
        Unsupported: an operator or structure has no TorchScript; the sentence says what TorchScript said.
    """
    writer = _Writer(graph, arguments, result)
    source = writer.source()
    holder = type(name, (torch.nn.Module,), {"__doc__": "Engines, and what runs in PyTorch between them."})()
    holder.eval()
    for path, flat in writer.attributes.items():
        holder.register_buffer(flat, _attribute(graph, path))
    with warnings.catch_warnings():
        # TorchScript is deprecated, and asked for: its files are what torch.jit.save writes.
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(holder)
        try:
            scripted.define(source)
        except RuntimeError as error:
            raise Unsupported(
                f"a part that runs in PyTorch cannot be written as TorchScript:\n{error}\n"
                f'  torch.compile(model, backend="engineworks") needs no TorchScript.'
            ) from None
    return scripted


def _attribute(graph: fx.GraphModule, path: str) -> torch.Tensor:
    found = operator.attrgetter(path)(graph)
    return found.detach() if found.requires_grad else found


class _Writer:
    """One graph being written."""

    def __init__(self, graph: fx.GraphModule, arguments: Arguments, result: Result) -> None:
        self._graph = graph.graph
        self._arguments = arguments
        self._result = result
        self.attributes: dict[str, str] = {}
        """Attributes of the graph that are read: their names as buffers."""

    def source(self) -> str:
        placeholders = [f"{n.name}__" for n in self._graph.find_nodes(op="placeholder")]
        lines = [f"def forward({', '.join(['self', *self._arguments.parameters()])}):"]
        lines += self._arguments.unpacking(placeholders)
        for node in self._graph.nodes:
            if node.op == "get_attr":
                self.attributes.setdefault(str(node.target), self._buffer(str(node.target)))
            elif node.op == "call_function":
                lines.append(f"{node.name}__ = {self._call(node)}")
        leaves = [self._value(v, None) for v in returned(self._graph)]
        lines.append(f"return {self._result.text(leaves)}")
        return "\n    ".join(lines) + "\n"

    def _buffer(self, path: str) -> str:
        flat = re.sub(r"\W", "_", path)
        flat = flat if flat[0].isalpha() else f"tensor_{flat}"
        return flat if flat not in self.attributes.values() else f"{flat}_{len(self.attributes)}"

    def _call(self, node: fx.Node) -> str:
        if node.target in _INFIX:
            left, right = (self._value(a, None) for a in node.args)
            return f"({left} {_INFIX[node.target]} {right})"
        if node.target in _CALLS:
            return _CALLS[node.target].format(*[self._value(a, None) for a in node.args])
        if not isinstance(node.target, torch._ops.OpOverload):
            raise Unsupported(
                f"{node.target} (node '{node.name}') runs in PyTorch and has no TorchScript. "
                f'torch.compile(model, backend="engineworks") needs none.'
            )
        schema = node.target._schema
        namespace, name = schema.name.split("::")
        return f"torch.ops.{namespace}.{name}({', '.join(self._passed(node, schema))})"

    def _passed(self, node: fx.Node, schema: Any) -> list[str]:
        passed = []
        for position, argument in enumerate(schema.arguments):
            if position < len(node.args):
                passed.append(self._value(node.args[position], argument.type))
            elif argument.name in node.kwargs:
                passed.append(f"{argument.name}={self._value(node.kwargs[argument.name], argument.type)}")
        return passed

    def _value(self, value: Any, kind: Any) -> str:
        """An argument as an expression.

        Args:
            kind: its type in the operator's schema; None where there is none.
        """
        if isinstance(value, fx.Node):
            return (
                f"self.{self.attributes[str(value.target)]}" if value.op == "get_attr" else f"{value.name}__"
            )
        if isinstance(value, (list, tuple)):
            items = f"[{', '.join(self._value(v, None) for v in value)}]"
            is_plain = value and all(type(v) is type(value[0]) for v in value)
            return (
                items if kind is None or is_plain else f"torch.jit.annotate({kind.annotation_str}, {items})"
            )
        return literal(value)


_LITERALS: list[tuple[type | tuple[type, ...], Callable[[Any], str]]] = [
    ((bool, int, str, type(None)), repr),
    (float, lambda v: repr(v) if math.isfinite(v) else f"float('{v}')"),
    (complex, lambda v: f"complex({v.real}, {v.imag})"),
    (torch.device, lambda v: f"torch.device('{v}')"),
    ((torch.dtype, torch.layout, torch.memory_format), str),
]


def literal(value: Any) -> str:
    """A constant as TorchScript. Raises Unsupported: it has no such form."""
    for kinds, text in _LITERALS:
        if isinstance(value, kinds):
            return text(value)
    raise Unsupported(f"a {type(value).__name__} is no constant of TorchScript: {value!r}")
