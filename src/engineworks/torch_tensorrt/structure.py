"""Arguments and results of a module as TorchScript sees them: tuples, lists and dicts of tensors and constants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree

from engineworks.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Arguments:
    """What `forward` takes.

    Attributes:
        names: of its parameters, positional ones first.
        specs: structure of each, as pytree.
        leaves: of all together, in order: None for a tensor, `Fixed` for a constant that the export holds.
    """

    names: tuple[str, ...]
    specs: tuple[Any, ...]
    leaves: tuple[Fixed | None, ...]

    def parameters(self) -> list[str]:
        """The parameters with their types; the last ones that are constants have these as defaults."""
        written, optional = [], True
        for name, spec, leaves in reversed(list(self._parts())):
            optional = optional and spec.is_leaf() and leaves[0] is not None
            default = f" = {leaves[0].value!r}" if optional and leaves[0] is not None else ""
            written.append(f"{name}: {_type(spec, list(leaves))}{default}")
        return written[::-1]

    def unpacking(self, names: Sequence[str]) -> list[str]:
        """Lines that give the tensors their names, and compare constants with what was compiled."""
        lines, following = [], iter(names)
        for name, spec, leaves in self._parts():
            for path, leaf in zip(_paths(name, spec), leaves, strict=True):
                if leaf is None:
                    lines.append(f"{next(following)} = {path}")
                elif not isinstance(leaf.value, float):
                    differs = f"{path} is not None" if leaf.value is None else f"{path} != {leaf.value!r}"
                    message = f"{name} was compiled for {leaf.value!r}; compile again for another value"
                    lines.append(f"if {differs}:\n        raise Exception({message!r})")
        return lines

    def _parts(self) -> list[tuple[str, Any, tuple[Fixed | None, ...]]]:
        parts, at = [], 0
        for name, spec in zip(self.names, self.specs, strict=True):
            parts.append((name, spec, self.leaves[at : at + spec.num_leaves]))
            at += spec.num_leaves
        return parts


@dataclass(frozen=True, slots=True)
class Fixed:
    """A leaf that is no tensor: a number, a text or None, part of the compiled program."""

    value: Any


@dataclass(frozen=True, slots=True)
class Result:
    """What `forward` returns: structure, and for each leaf None (a tensor or size) or the constant it always is."""

    spec: Any
    leaves: tuple[Fixed | None, ...]

    def text(self, values: Sequence[str]) -> str:
        """The expression for leaves with these expressions."""
        return _expression(self.spec, list(zip(values, self.leaves, strict=True)))[0]

    @property
    def needs_rebuilding(self) -> bool:
        """There are classes in it that TorchScript gives back as tuples and dicts."""
        return any(kind not in (tuple, list, dict, None) for kind in _kinds(self.spec))

    def rebuilt(self, returned: Any) -> Any:
        """What `forward` of the original module would return, from what TorchScript gives."""
        return _pytree.tree_unflatten(_pytree.tree_leaves(returned), self.spec)


def _kinds(spec: Any) -> set[Any]:
    found = {None if spec.is_leaf() else spec.type}
    for child in spec.children():
        found |= _kinds(child)
    return found


def _keys(spec: Any) -> list[str] | None:
    """Names of the children of a dict, a dataclass or a class of named fields; None where they are numbered."""
    for context in (
        spec.context,
        spec.context[-1] if isinstance(spec.context, (list, tuple)) and spec.context else None,
    ):
        is_names = isinstance(context, (list, tuple)) and all(isinstance(k, str) for k in context)
        if is_names and len(context) == spec.num_children:
            return list(context)
    if spec.type is dict:
        raise Unsupported(f"a dict with keys that are no strings ({spec.context}) has no TorchScript form")
    return None


def _type(spec: Any, leaves: list[Fixed | None]) -> str:
    """The TorchScript type of an argument; takes its leaves off the list."""
    if spec.is_leaf():
        leaf = leaves.pop(0)
        if leaf is None:
            return "Tensor"
        return "Optional[Tensor]" if leaf.value is None else type(leaf.value).__name__
    parts = [_type(child, leaves) for child in spec.children()]
    if spec.type is list:
        return f"List[{_common(parts)}]"
    if spec.type is dict:
        return f"Dict[str, {_common(parts)}]"
    if spec.type is tuple:
        return f"Tuple[{', '.join(parts) or '()'}]"
    raise Unsupported(
        f"forward takes a {spec.type.__name__}; TorchScript takes tensors, tuples, lists and dicts of them"
    )


def _common(kinds: Sequence[str]) -> str:
    """The type of all items: theirs where they agree."""
    found = sorted(set(kinds))
    if len(found) <= 1:
        return found[0] if found else "Tensor"
    return "Optional[Tensor]" if found in (["None", "Tensor"], ["Optional[Tensor]", "Tensor"]) else "Any"


def _paths(name: str, spec: Any) -> list[str]:
    """The expression of each leaf of an argument."""
    if spec.is_leaf():
        return [name]
    keys = _keys(spec) if spec.type is dict else range(spec.num_children)
    assert keys is not None
    return [
        path
        for key, child in zip(keys, spec.children(), strict=True)
        for path in _paths(f"{name}[{key!r}]", child)
    ]


def _expression(spec: Any, leaves: list[tuple[str, Fixed | None]]) -> tuple[str, str]:
    """(expression, type) of a result; takes its leaves off the list."""
    if spec.is_leaf():
        text, fixed = leaves.pop(0)
        if fixed is None:
            return text, "Tensor"
        return text, "None" if fixed.value is None else type(fixed.value).__name__
    parts = [_expression(child, leaves) for child in spec.children()]
    kinds = [kind for _, kind in parts]
    keys = None if spec.type in (tuple, list) else _keys(spec)
    if keys is not None:
        items = ", ".join(f"{key!r}: {text}" for key, (text, _) in zip(keys, parts, strict=True))
        return _annotated(f"Dict[str, {_common(kinds)}]", f"{{{items}}}", kinds)
    if spec.type is list and _common(kinds) != "Any":
        return _annotated(f"List[{_common(kinds)}]", f"[{', '.join(t for t, _ in parts)}]", kinds)
    return f"({''.join(f'{text}, ' for text, _ in parts)})", f"Tuple[{', '.join(kinds) or '()'}]"


def _annotated(kind: str, text: str, kinds: Sequence[str]) -> tuple[str, str]:
    is_clear = len(set(kinds)) == 1 and kinds[0] != "None"
    return (text if is_clear else f"torch.jit.annotate({kind}, {text})"), kind


def parameter_name(text: str) -> str:
    """`text` as an identifier of TorchScript."""
    name = re.sub(r"\W", "_", text)
    return name if name and not name[0].isdigit() else f"input_{name}"


def is_tensor(value: Any) -> bool:
    """The value is a tensor, or a module's parameter."""
    return isinstance(value, torch.Tensor)
