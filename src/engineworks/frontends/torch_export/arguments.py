"""The arguments of one call of a torch operator, by the names of its schema and with its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engineworks.errors import UnsupportedOperator
from engineworks.frontends.torch_export.sizes import Sizes
from engineworks.frontends.torch_export.tensors import dtype_of
from engineworks.ir.foreign import InputAt

_TENSOR_TYPES = frozenset({"Tensor", "Optional[Tensor]", "List[Tensor]", "List[Optional[Tensor]]"})


@dataclass(slots=True)
class Arguments:
    """What a call passes.

    Attributes:
        by_name: the arguments in the schema's order; tensors are `InputAt`, symbolic integers `SizeOf`.
        tensors: names of those that the schema types as tensors.
        inputs: names of the values that `InputAt` counts.
        numbers: expressions of those inputs that are no tensors of the graph but numbers computed from sizes.
    """

    by_name: dict[str, Any] = field(default_factory=dict)
    tensors: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    numbers: dict[str, tuple] = field(default_factory=dict)


def read_arguments(node: Any, values: dict[Any, str], sizes: Sizes) -> Arguments:
    """The arguments of an aten call.

    Args:
        node: torch.fx node whose target is an OpOverload.
        values: names of the tensors, by fx node.
    Raises:
        UnsupportedOperator: an argument is of a kind that an engine cannot take (a number that the data decides).
    """
    made = Arguments()
    for position, given in enumerate(node.target._schema.arguments):
        if position < len(node.args) and not given.kwarg_only:
            value = node.args[position]
        else:
            value = node.kwargs.get(given.name, given.default_value)
        made.by_name[given.name] = _read(value, node, values, sizes, made)
        if str(given.type) in _TENSOR_TYPES:
            made.tensors.append(given.name)
    return made


def _read(value: Any, node: Any, values: dict[Any, str], sizes: Sizes, made: Arguments) -> Any:
    import torch

    if isinstance(value, torch.fx.Node):
        if value in values:
            made.inputs.append(values[value])
            return InputAt(len(made.inputs) - 1)
        return _number(value.meta.get("val"), value, node, sizes, made)
    if isinstance(value, (list, tuple)):
        return tuple(_read(v, node, values, sizes, made) for v in value)
    if isinstance(value, torch.dtype):
        return dtype_of(value, f"{node.target} at node '{node.name}'")
    if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
        return str(value)
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return _number(value, value, node, sizes, made)
    return value


def _number(value: Any, argument: Any, node: Any, sizes: Sizes, made: Arguments) -> Any:
    """A number that sizes decide."""
    import torch

    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, torch.SymInt):
        return sizes.size(value)
    if isinstance(value, torch.SymFloat):
        expression = value.node.expr
        if expression.is_number:
            return float(expression)
        name = f"{node.name}.{argument}"
        made.numbers[name] = sizes.number(expression)
        made.inputs.append(name)
        return InputAt(len(made.inputs) - 1)
    if isinstance(value, torch.SymBool) and not value.node.expr.free_symbols:
        return bool(value.node.expr)
    raise UnsupportedOperator(
        f"{node.target} at node '{node.name}': argument '{argument}' is a {type(value).__name__} that each call would "
        f"decide. Fix what it follows from."
    )
