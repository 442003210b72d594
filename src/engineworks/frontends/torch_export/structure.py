"""Names of the inputs and outputs of an exported program, and the structure that its outputs had."""

from __future__ import annotations

import re
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
    signature = program.module_call_graph[0].signature
    names = input_names(program)
    specs = [spec for spec in program.graph_signature.input_specs if _is_user(spec, "INPUT")]
    inputs = tuple(names[spec.arg.name] if _is_tensor(spec) else None for spec in specs)
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


def input_names(program: Any) -> dict[str, str]:
    """What the tensors that forward takes are called, by the names of their placeholders.

    A parameter's own name, then the keys that lead to the tensor: torch writes the same in lower case.
    """
    from torch.utils import _pytree

    signature = program.module_call_graph[0].signature
    dummy = _pytree.tree_unflatten(list(range(signature.in_spec.num_leaves)), signature.in_spec)
    args, kwargs = dummy
    parameters = zip(signature.forward_arg_names or (), [*args, *kwargs.values()], strict=False)
    paths = [
        re.sub(r"\W", "_", "_".join([parameter, *map(key_text, path)]))
        for parameter, tree in parameters
        for path, _ in _pytree.tree_flatten_with_path(tree)[0]
    ]
    own = {path.lower(): path for path in paths}
    return {n.name: own.get(n.name, n.name) for n in program.graph.nodes if n.op == "placeholder"}


def _is_tensor(spec: Any) -> bool:
    """Whether an argument is a tensor; constants are in the program. Raises UnsupportedOperator: it is neither."""
    kind = type(spec.arg).__name__
    if kind not in ("TensorArgument", "ConstantArgument"):
        raise UnsupportedOperator(
            f"forward takes '{spec.arg.name}', a {kind.removesuffix('Argument')}. Engines take tensors: "
            f"pass a plain number, which becomes part of the engine, or a tensor."
        )
    return kind == "TensorArgument"


def _leaf_paths(out_spec: Any) -> list[str]:
    """A readable name for each leaf: 'output' alone, 'output_1' in a tuple, 'logits' or 'hidden.2' under keys."""
    from torch.utils import _pytree

    dummy = _pytree.tree_unflatten(list(range(out_spec.num_leaves)), out_spec)
    leaves, _ = _pytree.tree_flatten_with_path(dummy)
    return [_path_name(path) for path, _ in leaves]


def _path_name(path: Sequence[Any]) -> str:
    name = ".".join(map(key_text, path))
    if not name:
        return "output"
    return f"output_{name}" if name[0].isdigit() else name


def key_text(key: Any) -> str:
    """A key of a dict, a position in a sequence, or a field."""
    return str(next(getattr(key, kind) for kind in ("key", "idx", "name") if hasattr(key, kind)))


def _unused(name: str, taken: set[str]) -> str:
    """`name`, or with a suffix where an input or an earlier output is called so."""
    found = name if name not in taken else f"{name}_out"
    number = 2
    while found in taken:
        found, number = f"{name}_out{number}", number + 1
    taken.add(found)
    return found
