"""engineworks ops: the operators there are, and how ONNX spells them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from engineworks.cli.console import emit_json, say, table


def ops(
    pattern: str = "",
    /,
    *,
    missing: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """List operators.

    Args:
        pattern: only those whose name contains it.
        missing: list the operators of the ONNX standard that have no rule instead.
        json: print the list as JSON.
    """
    import engineworks.ops  # noqa: F401  (registers the ops)
    from engineworks.frontends.onnx.standard import coverage
    from engineworks.ir.foreign import spellings
    from engineworks.ir.op import REGISTRY

    if missing:
        lacking = [c for c in coverage() if not c.has_rule and pattern.lower() in c.kind.lower()]
        if json:
            emit_json(
                [
                    {"operator": c.kind, "domain": c.domain, "since": c.since, "expanded": c.has_body}
                    for c in lacking
                ]
            )
            return
        rows = [
            (
                c.kind,
                c.domain or "ai.onnx",
                c.since,
                "its function body is imported" if c.has_body else "not supported",
            )
            for c in lacking
        ]
        table(["operator", "domain", "since", "today"], rows)
        return
    own = {n: o for n, o in REGISTRY.items() if pattern.lower() in n.lower()}
    foreign = {n: s for n, s in spellings("onnx").items() if pattern.lower() in n.lower()}
    if json:
        emit_json({"operators": {n: _doc(o) for n, o in own.items()}, "onnx": foreign})
        return
    table(["operator", "meaning"], [(n, _doc(o)) for n, o in sorted(own.items())])
    table(["ONNX operator", "from opset"], [(n, ", ".join(map(str, sorted(s)))) for n, s in foreign.items()])
    covered = [c for c in coverage() if c.has_rule or c.has_body]
    say(f"{len(covered)} of the {len(coverage())} operators of the installed ONNX standard can be imported")


def _doc(op: type) -> str:
    return (op.__doc__ or "").strip().partition("\n")[0]
