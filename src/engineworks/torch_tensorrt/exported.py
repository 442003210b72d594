"""What a decomposed torch.export.ExportedProgram holds: graph, constants, limits of sizes, arguments and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from engineworks.errors import InvalidInput, Unsupported
from engineworks.torch_tensorrt.extract import Program
from engineworks.torch_tensorrt.input import Input
from engineworks.torch_tensorrt.structure import Arguments, Fixed, Result, parameter_name


def parameter_names(program: Any) -> tuple[str, ...]:
    """Names of forward's parameters, as the exported program states or numbers them."""
    signature = program.module_call_graph[0].signature
    args, kwargs = signature.in_spec.children()
    stated = list(getattr(signature, "forward_arg_names", None) or ())
    numbered = [f"input_{k}" for k in range(args.num_children)]
    positional = stated[: args.num_children] if len(stated) >= args.num_children else numbered
    return (*positional, *(kwargs.context or ()))


def program_of(program: Any, inputs: Sequence[Input] = ()) -> Program:
    """A decomposed ExportedProgram as a graph with constants.

    Args:
        inputs: of forward, in order; their ranges bound what the program leaves open.
    Raises:
        InvalidInput: a size may change that neither the program nor `inputs` bound.
    """
    signature = program.graph_signature
    constants, state = {}, set()
    changed = {s.target for s in signature.output_specs if s.kind.name == "BUFFER_MUTATION"}
    by_target: dict[str, str] = {}
    for spec in signature.input_specs:
        kind = spec.kind.name
        if kind in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
            stored = program.state_dict.get(spec.target)
            constants[spec.arg.name] = program.constants[spec.target] if stored is None else stored
            by_target[spec.target] = spec.arg.name
            if spec.target in changed:
                state.add(spec.arg.name)
        elif kind == "USER_INPUT":
            by_target[spec.arg.name] = spec.arg.name
    updates = {
        k: by_target[s.target]
        for k, s in enumerate(signature.output_specs)
        if s.kind.name.endswith("_MUTATION")
    }
    return Program(program.graph, constants, state, _ranges(program, inputs), updates, program.graph_module)


def _ranges(program: Any, inputs: Sequence[Input]) -> dict[Any, Any]:
    """Limits of torch's symbols: the program's, within those of the inputs."""
    from torch.utils._sympy.value_ranges import ValueRanges

    placeholders = {n.name: n for n in program.graph.find_nodes(op="placeholder")}
    specs = [s for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    nodes = [placeholders[s.arg.name] for s in specs if type(s.arg).__name__ == "TensorArgument"]
    found = dict(program.range_constraints)
    for node, given in zip(nodes, inputs, strict=False):
        low, _, high = given.range()
        for size, least, most in zip(node.meta["val"].shape, low, high, strict=False):
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol and least < most:
                limits = ValueRanges(least, most)
                found[size.node.expr] = found.get(size.node.expr, limits) & limits
    for node in nodes:
        for axis, size in enumerate(node.meta["val"].shape):
            if isinstance(size, torch.SymInt) and not _is_bounded(size.node.expr, found):
                raise InvalidInput(
                    f"axis {axis} of '{node.name}' ({size}) has no largest size. Give inputs=[Input(min_shape=…, "
                    f"opt_shape=…, max_shape=…)], or export with torch.export.Dim(…, max=…)."
                )
    return found


def _is_bounded(expression: Any, ranges: Mapping[Any, Any]) -> bool:
    return all(s in ranges and ranges[s].upper.is_Integer for s in expression.free_symbols)


def structure_of(program: Any, names: Sequence[str]) -> tuple[Arguments, Result]:
    """What forward takes and returns."""
    signature = program.module_call_graph[0].signature
    args, kwargs = signature.in_spec.children()
    specs = (*args.children(), *kwargs.children())
    given = [s.arg for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    for argument in given:
        if type(argument).__name__ not in ("TensorArgument", "ConstantArgument"):
            raise Unsupported(
                f"forward takes '{argument.name}', a number that may change. Pass a tensor, or export with a constant."
            )
    returned = [s.arg for s in program.graph_signature.output_specs if s.kind.name == "USER_OUTPUT"]
    arguments = Arguments(tuple(map(parameter_name, names)), specs, tuple(map(_fixed, given)))
    return arguments, Result(signature.out_spec, tuple(map(_fixed, returned)))


def _fixed(argument: Any) -> Fixed | None:
    return Fixed(argument.value) if type(argument).__name__ == "ConstantArgument" else None
