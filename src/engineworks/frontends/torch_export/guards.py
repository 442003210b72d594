"""What torch.export found that sizes must satisfy, as equalities that an engine checks at each call."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engineworks.errors import UnsupportedOperator
from engineworks.frontends.torch_export.sizes import Sizes
from engineworks.ir.foreign import ForeignInput, Requirement, SizeOf

_SIZE = re.compile(r"L((?:\[(?:'[^']*'|\d+)\])+)\.size\(\)\[(\d+)\]")
_COMPARISONS: Mapping[type, Callable[[str, str], tuple[str, str]]] = {
    ast.Eq: lambda a, b: (a, b),
    ast.LtE: lambda a, b: (f"max({a} - {b}, 0)", "0"),
    ast.Lt: lambda a, b: (f"max({a} - {b} + 1, 0)", "0"),
    ast.GtE: lambda a, b: (f"max({b} - {a}, 0)", "0"),
    ast.Gt: lambda a, b: (f"max({b} - {a} + 1, 0)", "0"),
}
"""An engine checks equalities only: a <= b is max(a - b, 0) == 0."""


def requirements(program: Any, inputs: Sequence[ForeignInput]) -> list[Requirement]:
    """The guards of the export over sizes of the inputs.

    torch takes every dynamic size to be at least 2, and adds guards (!= 1, >= 2, memory layouts) that only serve
    its own kernels; these are left out, so that a batch of 1 runs.
    """
    shapes = {given.name: given.shape for given in inputs}
    found = []
    for guard in getattr(program, "_guards_code", None) or ():
        made = _requirement(guard, shapes)
        if made is not None and made not in found:
            found.append(made)
    return found


def _requirement(guard: str, shapes: Mapping[str, Any]) -> Requirement | None:
    def sized(match: re.Match[str]) -> str:
        name = "_".join(re.findall(r"\w+", match[1]))
        size = shapes[name][int(match[2])]
        return size.text if isinstance(size, SizeOf) else str(size)

    try:
        comparison = ast.parse(_SIZE.sub(sized, guard), mode="eval").body
    except (KeyError, SyntaxError):
        return None  # about something that is no size of an input: nothing an engine could check
    if not isinstance(comparison, ast.Compare) or not _is_size(comparison):
        return None
    (kind,), (right,) = comparison.ops, comparison.comparators
    if type(kind) not in _COMPARISONS or _is_about_two(kind, right):
        return None
    left_text, right_text = _COMPARISONS[type(kind)](
        f"({ast.unparse(comparison.left)})", f"({ast.unparse(right)})"
    )
    return Requirement(left_text, right_text, f"torch.export's guard {_readable(guard)}")


def _is_about_two(kind: ast.cmpop, right: ast.expr) -> bool:
    """size > 1 and size >= 2: torch's own assumption."""
    limit = 1 if isinstance(kind, ast.Gt) else 2 if isinstance(kind, ast.GtE) else None
    return (
        limit is not None
        and isinstance(right, ast.Constant)
        and isinstance(right.value, int)
        and right.value <= limit
    )


def _is_size(comparison: ast.Compare) -> bool:
    """The sides are what core/dims can read: no floats, no calls but min and max."""
    allowed = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
    for node in ast.walk(comparison):
        if isinstance(node, ast.Call) and not (
            isinstance(node.func, ast.Name) and node.func.id in ("min", "max")
        ):
            return False
        if isinstance(node, ast.Constant) and not isinstance(node.value, int):
            return False
        if isinstance(node, ast.BinOp) and not isinstance(node.op, allowed):
            return False
    return len(comparison.ops) == 1


def _readable(guard: str) -> str:
    """L['x'].size()[0] as x.shape[0]."""

    def shown(match: re.Match[str]) -> str:
        name = ".".join(re.findall(r"\w+", match[1]))
        return f"{name}.shape[{match[2]}]"

    return _SIZE.sub(shown, guard)


_RELATIONS = {"Equality": ast.Eq, "LessThan": ast.LtE, "StrictLessThan": ast.Lt, "GreaterThan": ast.GtE,
              "StrictGreaterThan": ast.Gt}  # fmt: skip


def with_assertion(node: Any, sizes: Sizes) -> list[Requirement]:
    """What an _assert_scalar node asks for; empty where sizes alone cannot state it."""
    condition, message = node.args[0], node.args[1]
    value = condition.meta.get("val") if hasattr(condition, "meta") else condition
    relation = getattr(getattr(value, "node", None), "expr", None)
    kind = type(relation).__name__
    if relation is None or kind not in _RELATIONS:
        return []
    try:
        left, right = (sizes.text(side) for side in relation.args)
    except UnsupportedOperator:
        return []
    return [Requirement(*_COMPARISONS[_RELATIONS[kind]](left, right), message)]
