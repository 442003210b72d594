"""Calibrated int8: which pairs are put in, with which scales, and what they make of a small network."""

from __future__ import annotations

import numpy as np

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Node
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.calibrated_pairs import CalibratedPairs, is_never_negative
from engineworks.passes.lower_quantised import LowerQuantised
from engineworks.passes.precision import Policy
from engineworks.rules.sets import quantise_rules

RNG = np.random.default_rng(8)
FILTERS = (RNG.normal(0, 1, (6, 4, 3, 3)) * np.linspace(0.1, 2, 6).reshape(-1, 1, 1, 1)).astype(np.float32)
SECOND = RNG.normal(0, 0.3, (5, 6, 1, 1)).astype(np.float32)


def _graph() -> Graph:
    """conv -> relu ('between') -> conv."""
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (1, 4, 6, 6))
    with g.origin("first"):
        between = g.relu(g.conv(x, FILTERS, pads=(1, 1, 1, 1)))
        between.name = "between"
    with g.origin("second"):
        g.output(g.conv(between, SECOND), "y")
    return g.graph


def _insert(graph: Graph, ranges: dict[str, float]) -> tuple[dict[str, str], dict[str, float]]:
    reasons: dict[str, str] = {}
    steps: dict[str, float] = {}
    policy = Policy(frozenset({"int8"}), lambda node, possible: (possible[-1], "chosen"))
    rewriter = Rewriter(graph)
    CalibratedPairs(policy, ranges, reasons, steps).run(rewriter)
    rewriter.tidy()
    verify(graph)
    return reasons, steps


def _quantised(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if n.op.name == "quantize_linear"]


def test_scales_are_one_for_an_activation_and_one_for_each_filter() -> None:
    graph = _graph()
    reasons, steps = _insert(graph, {"x": 0.03, "between": 0.1})
    assert reasons == {"first": "chosen", "second": "chosen"}
    signed, unsigned = _quantised(graph)
    assert (signed.output.type.dtype, unsigned.output.type.dtype) == (dtypes.i8, dtypes.u8)
    np.testing.assert_allclose(signed.inputs[1].array, 0.03, rtol=1e-6)  # type: ignore[union-attr]
    np.testing.assert_allclose(unsigned.inputs[1].array, 0.1 * 127 / 255, rtol=1e-6)  # type: ignore[union-attr]
    assert steps["between"] == np.float32(0.1 * 127 / 255)
    weights = graph.nodes[[n.op.name for n in graph.nodes].index("conv")].inputs[1].producer  # type: ignore[union-attr]
    expected = np.abs(FILTERS).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(weights.inputs[1].array, expected, rtol=1e-6)  # type: ignore[union-attr]
    assert np.abs(weights.inputs[0].array).max(axis=(1, 2, 3)).tolist() == [127] * 6  # type: ignore[union-attr]


def test_a_tensor_without_a_range_keeps_its_reader_in_float() -> None:
    graph = _graph()
    reasons, _ = _insert(graph, {"x": 0.03, "between": 0.0})
    assert reasons["second"] == "tensor 'between' has no calibrated range"
    assert len(_quantised(graph)) == 1


def test_the_network_in_integers_is_near_the_one_in_floats() -> None:
    graph = _graph()
    feeds = {"x": RNG.normal(0, 1, (1, 4, 6, 6)).astype(np.float32)}
    seen: dict[str, float] = {}
    expected = interpret(
        graph, feeds, watch=lambda n, r: seen.update({n.outputs[0].name: float(np.abs(r[0]).max())})
    )
    _insert(graph, {"x": float(np.abs(feeds["x"]).max()) / 127, "between": seen["between"] / 127})
    rewriter = Rewriter(graph)
    quantise_rules().run(rewriter)
    LowerQuantised().run(rewriter)
    rewriter.tidy()
    verify(graph)
    kinds = [[v.type.dtype.name for v in n.inputs[:2]] for n in graph.nodes if n.op.name == "conv"]  # type: ignore[union-attr]
    assert kinds == [["i8", "i8"], ["u8", "i8"]]
    y = interpret(graph, feeds)["y"]
    assert np.abs(y - expected["y"]).max() < 0.03 * np.abs(expected["y"]).max()


def test_what_is_never_negative() -> None:
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (1, 2, 4))
    yes = [
        g.relu(x),
        g.max_pool(g.relu(x), kernel=(2,)),
        g.concat(g.sigmoid(x), g.relu(x), axis=1),
        g.max(x, 0.0),
    ]
    no = [x, g.add(g.relu(x), x), g.max(x, -1.0), g.concat(x, g.relu(x), axis=1)]
    assert all(map(is_never_negative, yes)) and not any(map(is_never_negative, no))
