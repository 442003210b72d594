"""What follows from weights alone is computed once, where PyTorch would otherwise compute it at every call."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import fx

from engineworks.torch_tensorrt.extract import Program
from engineworks.torch_tensorrt.partition import is_size, tensors_of


def constant_nodes(program: Program) -> set[fx.Node]:
    """Calls whose results are the same at every call: they read constants alone."""
    found: set[fx.Node] = set()
    for node in program.graph.nodes:
        reads_constants = all(n in found or program.is_constant(n) for n in node.all_input_nodes)
        if node.op == "call_function" and reads_constants and _is_repeatable(node):
            found.add(node)
    return found


def _is_repeatable(node: fx.Node) -> bool:
    if is_size(node) or not tensors_of(node.meta.get("val")):
        return False
    if node.target is operator.getitem:
        return True
    # What operators of other packages do beside their result is not known.
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return False
    return torch.Tag.nondeterministic_seeded not in target.tags


def fold(program: Program, eager: Collection[fx.Node]) -> Program:
    """The program in which nodes that read constants alone are constants, where PyTorch would run or read them.

    Args:
        eager: nodes that run in PyTorch. Constants that only engines read stay with them: their builder folds.
    """
    computed = constant_nodes(program)
    wanted = [
        n
        for n in computed
        if _is_tensor(n) and (n in eager or any(_is_eager(u, eager) for u in n.users) or _is_output(n))
    ]
    constants = dict(program.constants)
    known: dict[fx.Node, Any] = {}
    for node in sorted(wanted):
        tensor = _value(node, program, known)
        _replace(program.graph, node, tensor, constants)
    return dataclasses.replace(program, constants=constants)


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta["val"], torch.Tensor)


def _is_output(node: fx.Node) -> bool:
    return any(user.op == "output" for user in node.users)


def _is_eager(user: fx.Node, eager: Collection[fx.Node]) -> bool:
    return user in eager


def _value(node: fx.Node, program: Program, known: dict[fx.Node, Any]) -> Any:
    """What a constant node computes."""
    if node not in known:
        if node.op == "placeholder":
            known[node] = program.constants[node.name].detach()
        else:
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: _value(n, program, known))
            with torch.no_grad():
                known[node] = node.target(*args, **kwargs)  # type: ignore[operator]
    return known[node]


def _replace(
    graph: fx.Graph, node: fx.Node, tensor: torch.Tensor, constants: dict[str, torch.Tensor]
) -> None:
    with graph.inserting_before(next(iter(graph.nodes))):
        stored = graph.placeholder(f"{node.name}_folded")
    stored.meta = {"val": node.meta["val"], "stack_trace": node.meta.get("stack_trace")}
    constants[stored.name] = tensor.clone(memory_format=torch.contiguous_format)
    node.replace_all_uses_with(stored)
