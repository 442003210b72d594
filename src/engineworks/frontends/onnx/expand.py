"""Functions inlined: those of the model, and operators that the ONNX standard itself defines by a function body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engineworks.ir.foreign import rule_for

MAX_ROUNDS = 8
"""A function body may use further functions; the standard nests them a few deep."""
_DOMAIN = "engineworks.expanded"


def expand_functions(model: Any) -> Any:
    """The ModelProto without calls to its own functions, and without standard functions that have no rule here."""
    from onnx import inliner

    import engineworks.ops  # noqa: F401  (registers the rules)

    if model.functions:
        model = inliner.inline_local_functions(model)
    for _ in range(MAX_ROUNDS):
        if not any(True for _ in _wanted(model)):
            return model
        model = inliner.inline_local_functions(_with_bodies(model))
    return model


def _wanted(model: Any) -> Iterator[tuple[Any, Any]]:
    """(node, schema) of nodes that the standard can spell otherwise and that we cannot import as they are."""
    opsets = {_plain(o.domain): o.version for o in model.opset_import}
    for node in _nodes(model.graph):
        domain = _plain(node.domain)
        version = opsets.get(domain, 1)
        if rule_for("onnx", node.op_type, version, domain) is None:
            schema = _schema_with_body(node.op_type, domain, version)
            if schema is not None:
                yield node, schema


def _schema_with_body(kind: str, domain: str, version: int) -> Any:
    from onnx import defs

    try:
        schema: Any = defs.get_schema(kind, version, domain)
    except defs.SchemaError:
        return None
    return schema if schema.has_function or schema.has_context_dependent_function else None


def _with_bodies(model: Any) -> Any:
    """Each wanted node becomes a call to a function of its own in the model, which onnx then inlines.

    onnx can inline standard functions by itself, but stops at a body that depends on its context and on a call with an
    omitted input; a function per call has no such limit.
    """
    from onnx import ModelProto, shape_inference

    typed = shape_inference.infer_shapes(model)
    called = ModelProto()
    called.CopyFrom(typed)
    types = {v.name: v.type for v in _type_infos(called.graph)}
    opsets = {_plain(o.domain): o.version for o in model.opset_import}
    for number, (node, schema) in enumerate(list(_wanted(called))):
        body = _body(node, schema, opsets[_plain(node.domain)], types)
        if body is None:
            continue
        body.domain, body.name = _DOMAIN, f"{node.op_type}_{number}"
        del body.opset_import[:]
        body.opset_import.extend(model.opset_import)
        node.domain, node.op_type = body.domain, body.name
        called.functions.append(body)
    called.opset_import.add(domain=_DOMAIN, version=1)
    return called


def _body(node: Any, schema: Any, opset: int, types: Mapping[str, Any]) -> Any:
    """The FunctionProto of one call, its attributes set to the standard's defaults where the call leaves them out."""
    from onnx import FunctionProto, TypeProto

    _set_defaults(node, schema)
    if schema.has_context_dependent_function:
        newest = max(
            (v for v in schema.context_dependent_function_opset_versions if v <= opset), default=None
        )
        given = [types.get(i, TypeProto()).SerializeToString() for i in node.input]
        data = (
            b""
            if newest is None
            else schema.get_context_dependent_function_with_opset_version(
                newest, node.SerializeToString(), given
            )
        )
    else:
        newest = max((v for v in schema.function_opset_versions if v <= opset), default=None)
        data = b"" if newest is None else schema.get_function_with_opset_version(newest)
    return FunctionProto.FromString(data) if data else None


def _set_defaults(node: Any, schema: Any) -> None:
    present = {a.name for a in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in present and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of bodies too."""
    for node in graph.node:
        yield node
        for body in _bodies(node):
            yield from _nodes(body)


def _bodies(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _type_infos(graph: Any) -> Iterator[Any]:
    """What is known of the types of values, in bodies too; initializers as far as their type goes."""
    from onnx import helper

    for tensor in graph.initializer:
        yield helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
    yield from graph.input
    yield from graph.value_info
    yield from graph.output
    for node in graph.node:
        for body in _bodies(node):
            yield from _type_infos(body)
