"""Functions inlined: those of the model, and operators that the ONNX standard itself defines by a function body."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engineworks.ir.foreign import rule_for

MAX_ROUNDS = 8
"""A function body may use further functions; the standard nests them a few deep."""


def expand_functions(model: Any) -> Any:
    """The ModelProto without calls to its own functions, and without standard functions that have no rule here."""
    from onnx import inliner

    import engineworks.ops  # noqa: F401  (registers the rules)

    if model.functions:
        model = inliner.inline_local_functions(model)
    for _ in range(MAX_ROUNDS):
        wanted = sorted(_without_rule(model))
        if not wanted:
            return model
        model = inliner.inline_selected_functions(_typed(model), wanted, inline_schema_functions=True)
    return model


def _typed(model: Any) -> Any:
    """With the types of intermediate values, which bodies that depend on their context ask for."""
    from onnx import shape_inference

    return shape_inference.infer_shapes(model)


def _without_rule(model: Any) -> set[tuple[str, str]]:
    """(domain, kind) of the nodes that the standard can spell otherwise and that we cannot import as they are."""
    opsets = {o.domain: o.version for o in model.opset_import}
    found: set[tuple[str, str]] = set()
    for node in _nodes(model.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = opsets.get(node.domain, opsets.get(domain, 1))
        if rule_for("onnx", node.op_type, version, domain) is None and _has_body(node.op_type, domain, version):
            found.add((node.domain, node.op_type))
    return found


def _has_body(kind: str, domain: str, version: int) -> bool:
    from onnx import defs

    try:
        schema = defs.get_schema(kind, version, domain)
    except defs.SchemaError:
        return False
    return schema.has_function or schema.has_context_dependent_function


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of bodies too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for body in attribute.graphs:
                yield from _nodes(body)
