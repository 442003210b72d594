"""Names of the inputs and outputs of an exported program, and the structure that its outputs had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engineworks.errors import UnsupportedOperator


@dataclass(frozen=True, slots=True)
class OutputLeaf:
    """One leaf of what forward returns: an output of the engine by name, or (name None) a constant."""

    name: str | None
    constant: Any = None


@dataclass(frozen=True, slots=True)
class Structure:
    """How flat values become the arguments and the result of forward.

    Attributes:
        inputs: for each leaf of (args, kwargs) the engine's input, or None where forward took a constant.
        outputs: the leaves of the result, in order.
        in_spec, out_spec: torch.utils._pytree.TreeSpec of (args, kwargs) and of the result.
    """

    inputs: tuple[str | None, ...]
    outputs: tuple[OutputLeaf, ...]
    in_spec: Any
    out_spec: Any

    def result(self, arrays: Any) -> Any:
        """What forward returns, from the engine's outputs by name."""
        from torch.utils._pytree import tree_unflatten

        leaves = [leaf.constant if leaf.name is None else arrays[leaf.name] for leaf in self.outputs]
        return tree_unflatten(leaves, self.out_spec)


def structure_of(program: Any) -> Structure:
    """The structure of a torch.export.ExportedProgram.

    Raises:
        UnsupportedOperator: forward takes an integer that may change from call to call, or an object.
    """
    inputs = tuple(
        _input_name(spec) for spec in program.graph_signature.input_specs if _is_user(spec, "INPUT")
    )
    signature = program.module_call_graph[0].signature
    taken = {name for name in inputs if name}
    paths = _leaf_paths(signature.out_spec)
    results = [s.arg for s in program.graph_signature.output_specs if _is_user(s, "OUTPUT")]
    outputs = []
    for path, argument in zip(paths, results, strict=True):
        if hasattr(argument, "value"):
            outputs.append(OutputLeaf(None, argument.value))
            continue
        outputs.append(OutputLeaf(_unused(path, taken)))
    return Structure(inputs, tuple(outputs), signature.in_spec, signature.out_spec)


def _is_user(spec: Any, kind: str) -> bool:
    return spec.kind.name == f"USER_{kind}"


def _input_name(spec: Any) -> str | None:
    """The name of a tensor argument; None for a constant, which the program holds."""
    kind = type(spec.arg).__name__
    if kind == "ConstantArgument":
        return None
    if kind == "TensorArgument":
        return spec.arg.name
    raise UnsupportedOperator(
        f"forward takes '{spec.arg.name}', a {kind.removesuffix('Argument')}. Engines take tensors: "
        f"pass a plain number, which becomes part of the engine, or a tensor."
    )


def _leaf_paths(out_spec: Any) -> list[str]:
    """A readable name for each leaf: 'output' alone, 'output_1' in a tuple, 'logits' or 'hidden.2' under keys."""
    from torch.utils import _pytree

    dummy = _pytree.tree_unflatten(list(range(out_spec.num_leaves)), out_spec)
    leaves, _ = _pytree.tree_flatten_with_path(dummy)
    return [_path_name(path) for path, _ in leaves]


def _path_name(path: Sequence[Any]) -> str:
    keys = [str(next(getattr(k, a) for a in ("key", "idx", "name") if hasattr(k, a))) for k in path]
    name = ".".join(keys)
    if not name:
        return "output"
    return f"output_{name}" if name[0].isdigit() else name


def _unused(name: str, taken: set[str]) -> str:
    """`name`, or with a suffix where an input or an earlier output is called so."""
    found = name if name not in taken else f"{name}_out"
    number = 2
    while found in taken:
        found, number = f"{name}_out{number}", number + 1
    taken.add(found)
    return found
