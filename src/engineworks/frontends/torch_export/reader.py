"""torch.export's ExportedProgram to ForeignGraph: names, arguments by schema, lazy weights, sizes as expressions."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from engineworks.errors import UnsupportedOperator
from engineworks.frontends.torch_export.arguments import read_arguments
from engineworks.frontends.torch_export.decompose import decomposed
from engineworks.frontends.torch_export.guards import requirements, with_assertion
from engineworks.frontends.torch_export.sizes import Sizes, ranges_of
from engineworks.frontends.torch_export.sources import module_class, module_path, source_line
from engineworks.frontends.torch_export.structure import OutputLeaf, input_names, structure_of
from engineworks.frontends.torch_export.tensors import Weights, dtype_of, has_twin
from engineworks.ir.foreign import ForeignGraph, ForeignInput, ForeignOp, ForeignType, SizeOf

EFFECTS = frozenset({"aten._assert_tensor_metadata.default", "aten.sym_constrain_range_for_size.default",
                     "aten.sym_constrain_range.default", "aten._assert_async.msg"})  # fmt: skip
"""Operators without a result that say what the reader or the engine checks anyway, or that data would decide."""

DATA_TO_NUMBER = "aten._local_scalar_dense.default"
"""tensor.item()."""


def read(program: Any) -> ForeignGraph:
    """The model of a torch.export.ExportedProgram, functional and in operators that have a rule where that can be.

    Tensors keep the names of the program's fx nodes, inputs those of forward's parameters. Weights are read when
    somebody asks; tied ones once.

    Raises:
        UnsupportedOperator: forward changes its inputs or buffers, takes objects, or has types that Engineworks lacks.
    """
    return _Reader(decomposed(program)).graph()


class _Reader:
    """Reads one program."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.sizes = Sizes()
        self.values: dict[Any, str] = {}
        """Names of tensors, by fx node."""
        self.parts: dict[tuple[Any, int], str] = {}
        """Names of the outputs of nodes that have several, by fx node and position."""
        self.foreign = ForeignGraph("torch", module_class(program), {})

    def graph(self) -> ForeignGraph:
        structure = structure_of(self.program)
        self._refuse_mutations()
        self._inputs()
        self.foreign.requirements = requirements(self.program, self.foreign.inputs)
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self._call(node)
        self._outputs(structure.outputs)
        self.foreign.ranges = ranges_of(self.program, self.sizes)
        return self.foreign

    def _refuse_mutations(self) -> None:
        changed = [
            s.target or s.arg.name
            for s in self.program.graph_signature.output_specs
            if "MUTATION" in s.kind.name
        ]
        if changed:
            raise UnsupportedOperator(
                f"forward changes {', '.join(map(repr, changed))} in place; an engine keeps no state between calls. "
                f"Take the state as an input, and return its new value."
            )

    # -- inputs and weights -----------------------------------------------------------------------------------
    def _inputs(self) -> None:
        placeholders = {n.name: n for n in self.program.graph.nodes if n.op == "placeholder"}
        names = input_names(self.program)
        weights = Weights()
        for spec in self.program.graph_signature.input_specs:
            kind, name = spec.kind.name, str(getattr(spec.arg, "name", ""))
            if kind == "USER_INPUT":
                if type(spec.arg).__name__ == "TensorArgument":
                    self._input(placeholders[name], names[name])
            elif kind in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
                self.values[placeholders[name]] = name
                self.foreign.constants[name] = weights.reader(self._stored(spec), f"weight '{spec.target}'")
            else:
                raise UnsupportedOperator(
                    f"'{spec.target}' is a {kind.lower()}, which an engine cannot hold."
                )

    def _stored(self, spec: Any) -> Any:
        where: Mapping[str, Any] = self.program.state_dict
        return where[spec.target] if spec.target in where else self.program.constants[spec.target]

    def _input(self, node: Any, name: str) -> None:
        value = node.meta["val"]
        self.values[node] = name
        self.sizes.name_axes(name, value.shape)
        sizes = (self.sizes.size(d) for d in value.shape)
        shape = tuple(d.text if isinstance(d, SizeOf) and d.text.isidentifier() else d for d in sizes)
        hints = [_hint(d) for d in value.shape]
        example = tuple(d for d in hints if d is not None)
        dtype = dtype_of(value.dtype, f"input '{name}'")
        self.foreign.inputs.append(
            ForeignInput(name, dtype, shape, example if len(example) == len(hints) else None)
        )

    # -- nodes ------------------------------------------------------------------------------------------------
    def _call(self, node: Any) -> None:
        value, kind = node.meta.get("val"), str(node.target)
        if node.target is operator.getitem and (node.args[0], node.args[1]) in self.parts:
            self.values[node] = self.parts[node.args[0], node.args[1]]
        elif kind == "aten._assert_scalar.default":
            self.foreign.requirements += with_assertion(node, self.sizes)
        elif kind in EFFECTS or (_is_number(value) and kind != DATA_TO_NUMBER):
            return  # of arithmetic on sizes, whoever reads it states the whole expression
        else:
            self._operator(node, kind, value)

    def _operator(self, node: Any, kind: str, value: Any) -> None:
        where = source_line(node)
        if not hasattr(node.target, "_schema"):
            self.foreign.nodes.append(ForeignOp(kind, "", node.name, (), (node.name,), {}, where=where))
            self.values[node] = node.name
            return
        arguments = read_arguments(node, self.values, self.sizes)
        outputs, results = self._results(node, value)
        name = f"{module_path(node)}/{node.name}".lstrip("/")
        self.foreign.nodes.append(
            ForeignOp(kind, "", name, tuple(arguments.inputs), outputs, arguments.by_name,
                      tuple(arguments.tensors), results, where)
        )  # fmt: skip

    def _results(self, node: Any, value: Any) -> tuple[tuple[str, ...], tuple[ForeignType | None, ...]]:
        """Names of the outputs, '' where nobody reads one, and their types."""
        if not isinstance(value, (tuple, list)):
            self.values[node] = node.name
            return (node.name,), (self._type(value, node),)
        read = {user.args[1] for user in node.users if user.target is operator.getitem}
        names = tuple(f"{node.name}.{k}" if k in read else "" for k in range(len(value)))
        self.parts.update({(node, k): name for k, name in enumerate(names)})
        return names, tuple(
            self._type(v, node) if name else None for v, name in zip(value, names, strict=True)
        )

    def _type(self, value: Any, node: Any) -> ForeignType | None:
        if not hasattr(value, "shape") or not has_twin(value.dtype):
            return None  # an operator on complex numbers has no rule, and is reported with the others
        dtype = dtype_of(value.dtype, f"{node.target} at node '{node.name}'")
        return ForeignType(dtype, tuple(self.sizes.size(d) for d in value.shape))

    # -- outputs ----------------------------------------------------------------------------------------------
    def _outputs(self, leaves: Sequence[OutputLeaf]) -> None:
        (node,) = (n for n in self.program.graph.nodes if n.op == "output")
        for leaf, value in zip(leaves, node.args[0], strict=True):
            if leaf.name is None:
                continue
            self.foreign.outputs.append(self._output(value))
            self.foreign.output_names.append(leaf.name)

    def _output(self, value: Any) -> Any:
        """The name of a tensor, or the size that is an output."""
        return self.values[value] if value in self.values else self.sizes.size(value.meta["val"])


def _is_number(value: Any) -> bool:
    import torch

    return isinstance(value, (bool, int, float, torch.SymInt, torch.SymFloat, torch.SymBool))


def _hint(size: Any) -> int | None:
    """The size in the example that the program was exported with, where it still knows."""
    return size if isinstance(size, int) else size.node.hint
