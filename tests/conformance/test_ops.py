"""Every op × example: inference, reference, element, decomposition and text must tell the same story."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.api import build
from engineworks.core.dims import evaluate
from engineworks.core.types import TensorType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.interpret import bind_dims, interpret, reference_by_element
from engineworks.ir.op import Op
from engineworks.ir.text import parse_graph, print_graph
from engineworks.ir.verify import verify
from engineworks.testing.compare import Tolerance, assert_close, tolerance
from engineworks.testing.inputs import Case, cases

ALL = list(cases())


def _reference(case: Case) -> list[np.ndarray]:
    results = interpret(case.graph(), case.feeds())
    return list(results.values())


def _allowed(case: Case, output: np.ndarray, type_: TensorType) -> Tolerance:
    largest = max([int(np.size(a)) for a in case.arrays() if a is not None], default=1)
    length = max(1, largest // max(1, output.size))
    return tolerance(type_.dtype, length, ("exp", "log", "div", "pow"), case.example.rtol)


@pytest.mark.parametrize("case", [c for c in ALL if not c.dims], ids=lambda c: c.label)
def test_inference_gives_the_shapes_and_dtypes_of_the_reference(case: Case) -> None:
    graph = case.graph()
    verify(graph)
    for value, result in zip(graph.outputs, _reference(case), strict=True):
        assert result.dtype == value.type.dtype.numpy
        assert result.shape == value.type.shape or not value.type.is_static


@pytest.mark.parametrize("case", [c for c in ALL if c.dims and not c.kind.defines], ids=lambda c: c.label)
def test_inference_over_symbols_agrees_with_the_arrays(case: Case) -> None:
    graph, feeds = case.graph(), case.feeds()
    dims = bind_dims(graph, feeds)
    for value, result in zip(graph.outputs, interpret(graph, feeds).values(), strict=True):
        assert tuple(evaluate(d, dims) for d in value.type.shape) == result.shape


def _has_both(kind: type[Op]) -> bool:
    return kind.has("element") and kind.has("reference")


@pytest.mark.parametrize("case", [c for c in ALL if _has_both(c.kind) and not c.dims], ids=lambda c: c.label)
def test_element_computes_the_reference(case: Case) -> None:
    (expected,) = _reference(case)
    assert_close(
        reference_by_element(case.op, case.arrays()),
        expected,
        _allowed(case, expected, case.graph().outputs[0].type),
    )


@pytest.mark.parametrize("case", [c for c in ALL if c.kind.has("decompose")], ids=lambda c: c.label)
def test_decomposition_computes_the_reference(case: Case) -> None:
    whole = case.graph()
    g = GraphBuilder(type(whole)("parts"))
    by_id = {id(v): g.input(v.name, v.type.dtype, v.type.shape) for v in whole.inputs}
    (node,) = whole.nodes
    values = [
        None if v is None else by_id[id(v)] if id(v) in by_id else g.constant(v.array, v.type.dtype)
        for v in node.inputs
    ]
    made = node.op.decompose(g, *values)
    for k, value in enumerate(made if isinstance(made, tuple) else (made,)):
        g.output(value, f"y{k}")
    verify(g.graph)
    results = interpret(g.graph, case.feeds())
    for (name, expected), value in zip(interpret(whole, case.feeds()).items(), whole.outputs, strict=True):
        assert_close(results[name], expected, _allowed(case, expected, value.type), name)


@pytest.mark.parametrize("case", [c for c in ALL if c.number == 0], ids=lambda c: c.label)
def test_text_reads_back(case: Case) -> None:
    graph = case.graph()
    constants = {v.constant.hash: v.array for v in graph.values() if v.constant is not None}
    text = print_graph(graph)
    again = parse_graph(text, constants)
    verify(again)
    assert print_graph(again) == text


@pytest.mark.parametrize("target", ["cpu", "cpu:avx2"])
@pytest.mark.parametrize("case", ALL, ids=lambda c: c.label)
def test_engine_computes_the_reference(case: Case, target: str) -> None:
    """Once with sizes left open, which is also how text, checks and plans meet symbols."""
    graph, feeds = case.graph(), case.feeds()
    expected = interpret(case.graph(), feeds)
    results = build(graph, target=target, effort=0, timing_cache=False, threads=1)(**feeds)
    for (name, right), value in zip(expected.items(), graph.outputs, strict=True):
        assert_close(results[name], right, _allowed(case, right, value.type), name)
