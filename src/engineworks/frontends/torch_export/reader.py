"""torch.export's ExportedProgram to ForeignGraph: names, arguments by schema, lazy weights, sizes as expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineworks.errors import UnsupportedOperator
from engineworks.frontends.torch_export.decompose import decomposed
from engineworks.frontends.torch_export.guards import requirements
from engineworks.frontends.torch_export.nodes import NodeReader
from engineworks.frontends.torch_export.sizes import Sizes, ranges_of
from engineworks.frontends.torch_export.sources import module_class
from engineworks.frontends.torch_export.structure import input_names, structure_of
from engineworks.frontends.torch_export.tensors import Weights, dtype_of
from engineworks.ir.foreign import ForeignGraph, ForeignInput, SizeOf


def read(program: Any) -> ForeignGraph:
    """The model of a torch.export.ExportedProgram, functional and in operators that have a rule where that can be.

    Tensors keep the names of the program's fx nodes, inputs those of forward's parameters. Weights are read when
    somebody asks; tied ones once.

    Raises:
        UnsupportedOperator: forward changes its inputs or buffers, takes objects, or has types that Engineworks lacks.
    """
    program = decomposed(program)
    structure = structure_of(program)
    _refuse_mutations(program)
    foreign = ForeignGraph("torch", module_class(program), {})
    nodes = NodeReader(program.graph_module, Sizes(), foreign)
    _read_inputs(program, nodes)
    foreign.requirements = requirements(program, foreign.inputs)
    nodes.walk()
    for leaf, value in zip(structure.outputs, nodes.results(), strict=True):
        if leaf.name is not None:
            foreign.outputs.append(value)
            foreign.output_names.append(leaf.name)
    foreign.ranges = ranges_of(program, nodes.sizes)
    return foreign


def _refuse_mutations(program: Any) -> None:
    specs = program.graph_signature.output_specs
    changed = [s.target or s.arg.name for s in specs if "MUTATION" in s.kind.name]
    if changed:
        raise UnsupportedOperator(
            f"forward changes {', '.join(map(repr, changed))} in place; an engine keeps no state between calls. "
            f"Take the state as an input, and return its new value."
        )


def _read_inputs(program: Any, nodes: NodeReader) -> None:
    """Inputs, and weights: parameters, buffers, and tensors that forward closes over."""
    placeholders = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    names, weights = input_names(program), Weights()
    for spec in program.graph_signature.input_specs:
        kind, name = spec.kind.name, str(getattr(spec.arg, "name", ""))
        if kind == "USER_INPUT":
            if type(spec.arg).__name__ == "TensorArgument":
                nodes.values[placeholders[name]] = names[name]
                nodes.foreign.inputs.append(_input(placeholders[name], names[name], nodes.sizes))
        elif kind in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
            nodes.values[placeholders[name]] = name
            nodes.foreign.constants[name] = weights.reader(_stored(program, spec), f"weight '{spec.target}'")
        else:
            raise UnsupportedOperator(f"'{spec.target}' is a {kind.lower()}, which an engine cannot hold.")


def _stored(program: Any, spec: Any) -> Any:
    """The tensor of a weight."""
    where: Mapping[str, Any] = program.state_dict
    return where[spec.target] if spec.target in where else program.constants[spec.target]


def _input(node: Any, name: str, sizes: Sizes) -> ForeignInput:
    value = node.meta["val"]
    sizes.name_axes(name, value.shape)
    read = (sizes.size(d) for d in value.shape)
    shape = tuple(d.text if isinstance(d, SizeOf) and d.text.isidentifier() else d for d in read)
    hints = [_hint(d) for d in value.shape]
    example = tuple(d for d in hints if d is not None)
    dtype = dtype_of(value.dtype, f"input '{name}'")
    return ForeignInput(name, dtype, shape, example if len(example) == len(hints) else None)


def _hint(size: Any) -> int | None:
    """The size in the example that the program was exported with, where it still knows."""
    return size if isinstance(size, int) else size.node.hint
