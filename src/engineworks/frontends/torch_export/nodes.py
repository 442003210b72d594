"""The calls of one fx graph as foreign nodes: the program's own graph, and the bodies of torch.cond."""

from __future__ import annotations

import operator
from typing import Any

from engineworks.frontends.torch_export.arguments import Arguments, read_arguments
from engineworks.frontends.torch_export.guards import with_assertion
from engineworks.frontends.torch_export.sizes import Sizes
from engineworks.frontends.torch_export.sources import module_path, source_line
from engineworks.frontends.torch_export.tensors import dtype_of, has_twin
from engineworks.ir.foreign import ForeignGraph, ForeignOp, ForeignType

EFFECTS = frozenset({"aten._assert_tensor_metadata.default", "aten.sym_constrain_range_for_size.default",
                     "aten.sym_constrain_range.default", "aten._assert_async.msg"})  # fmt: skip
"""Operators without a result that say what the reader or the engine checks anyway, or that data would decide."""

DATA_TO_NUMBER = "aten._local_scalar_dense.default"
"""tensor.item()."""

COND = "higher_order.cond"


class NodeReader:
    """Reads one graph into `foreign`.

    Args:
        module: the GraphModule that owns the graph, and the bodies of its calls.
        sizes: the symbols of the whole program.
        foreign: where nodes and requirements go.
        prefix: before the names of its values: a body reads values of the graphs around it by name.
    """

    def __init__(self, module: Any, sizes: Sizes, foreign: ForeignGraph, prefix: str = "") -> None:
        self.module = module
        self.sizes = sizes
        self.foreign = foreign
        self.prefix = prefix
        self.values: dict[Any, str] = {}
        """Names of tensors, by fx node."""
        self.parts: dict[tuple[Any, int], str] = {}
        """Names of the outputs of nodes that have several, by fx node and position."""

    def walk(self) -> None:
        """Read all calls; the placeholders' names are in `values` already."""
        for node in self.module.graph.nodes:
            if node.op == "call_function":
                self._call(node)

    def results(self) -> list[Any]:
        """What the graph returns: names of tensors, sizes, and constants as they are (None for no value)."""
        (node,) = (n for n in self.module.graph.nodes if n.op == "output")
        return [self._result(value) for value in node.args[0]]

    def _result(self, value: Any) -> Any:
        if value in self.values:
            return self.values[value]
        return self.sizes.size(value.meta["val"]) if hasattr(value, "meta") else value

    def _call(self, node: Any) -> None:
        value, kind = node.meta.get("val"), _kind(node)
        if node.target is operator.getitem and (node.args[0], node.args[1]) in self.parts:
            self.values[node] = self.parts[node.args[0], node.args[1]]
        elif kind == "aten._assert_scalar.default":
            self.foreign.requirements += with_assertion(node, self.sizes)
        elif kind in EFFECTS or (_is_number(value) and kind != DATA_TO_NUMBER):
            return  # of arithmetic on sizes, whoever reads it states the whole expression
        else:
            self._operator(node, kind)

    def _operator(self, node: Any, kind: str) -> None:
        if kind == COND:
            arguments = self._branches(node)
        elif hasattr(node.target, "_schema"):
            arguments = read_arguments(node, self.values, self.sizes)
        else:
            arguments = Arguments()  # no operator: it is reported as one without a rule
        where = source_line(node)
        name = f"{module_path(node)}/{node.name}".lstrip("/")
        for number, expression in arguments.numbers.items():
            given = {"expression": expression}
            self.foreign.nodes.append(ForeignOp("sizes.number", "", name, (), (number,), given, where=where))
        outputs, results = self._outputs(node)
        self.foreign.nodes.append(
            ForeignOp(kind, "", name, tuple(arguments.inputs), outputs, arguments.by_name,
                      tuple(arguments.tensors), results, where)
        )  # fmt: skip

    def _outputs(self, node: Any) -> tuple[tuple[str, ...], tuple[ForeignType | None, ...]]:
        """Names of the outputs, '' where nobody reads one, and their types."""
        value, name = node.meta.get("val"), f"{self.prefix}{node.name}"
        if not isinstance(value, (tuple, list)):
            self.values[node] = name
            return (name,), (self._type(value, node),)
        read = {user.args[1] for user in node.users if user.target is operator.getitem}
        names = tuple(f"{name}.{k}" if k in read else "" for k in range(len(value)))
        self.parts.update({(node, k): name for k, name in enumerate(names)})
        return names, tuple(self._type(v, node) if n else None for v, n in zip(value, names, strict=True))

    def _type(self, value: Any, node: Any) -> ForeignType | None:
        if not hasattr(value, "shape") or not has_twin(value.dtype):
            return None  # an operator on complex numbers has no rule, and is reported with the others
        dtype = dtype_of(value.dtype, f"{node.target} at node '{node.name}'")
        return ForeignType(dtype, tuple(self.sizes.size(d) for d in value.shape))

    # -- bodies -----------------------------------------------------------------------------------------------
    def _branches(self, node: Any) -> Arguments:
        """The arguments of torch.cond, as those of ONNX's If: bodies without inputs that read outer values by name."""
        condition, then, otherwise, operands = node.args
        bodies = {
            "then_branch": self._body(then, operands, f"{node.name}.then"),
            "else_branch": self._body(otherwise, operands, f"{node.name}.else"),
        }
        return Arguments(bodies, ["pred"], [self.values[condition]])

    def _body(self, graph: Any, operands: Any, name: str) -> ForeignGraph:
        module = getattr(self.module, graph.target)
        inside = NodeReader(module, self.sizes, ForeignGraph("torch", name, {}), f"{self.prefix}{name}.")
        placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
        for placeholder, operand in zip(placeholders, operands, strict=True):
            if operand in self.values:
                inside.values[placeholder] = self.values[operand]
        inside.walk()
        inside.foreign.outputs = inside.results()
        self.foreign.requirements += inside.foreign.requirements
        return inside.foreign


def _kind(node: Any) -> str:
    """The operator's full name: 'aten.add.Tensor', 'higher_order.cond'."""
    import torch

    is_higher = isinstance(node.target, torch._ops.HigherOrderOperator)
    return f"higher_order.{node.target.name()}" if is_higher else str(node.target)


def _is_number(value: Any) -> bool:
    import torch

    return isinstance(value, (bool, int, float, torch.SymInt, torch.SymFloat, torch.SymBool))
