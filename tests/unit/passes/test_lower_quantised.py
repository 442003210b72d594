"""Q and DQ as arithmetic: the same numbers to the last bit where a model says them, and no work that is not needed."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.lower_quantised import LowerQuantised

RNG = np.random.default_rng(11)


def _lower(graph: Graph) -> list[str]:
    rewriter = Rewriter(graph)
    LowerQuantised().run(rewriter)
    rewriter.tidy()
    verify(graph)
    return [n.op.name for n in graph.nodes]


def _step(g: GraphBuilder, scale) -> Value:
    return g.constant(np.asarray(scale, np.float32))


@pytest.mark.parametrize("dtype", [dtypes.i8, dtypes.u8], ids=str)
@pytest.mark.parametrize("scale", [0.1, 0.25, [0.1, 0.02, 3.0]], ids=str)
@pytest.mark.parametrize("zero", [None, 0, 17])
def test_numbers_are_rounded_as_the_model_says(dtype: DType, scale, zero) -> None:
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (50, 3))
    more = [] if zero is None else [g.constant(np.broadcast_to(zero, np.shape(scale)), dtype)]
    narrow = g.quantize_linear(x, _step(g, scale), *more, dtype=dtype)
    g.output(narrow, "q")
    g.output(g.dequantize_linear(narrow, _step(g, scale), *more), "y")
    values = np.concatenate([RNG.uniform(-40, 40, 90), np.arange(-30, 30) * 0.05])
    feeds = {"x": values.astype(np.float32).reshape(50, 3)}
    expected = interpret(g.graph, feeds)
    assert "quantize_linear" not in _lower(g.graph)
    for name, actual in interpret(g.graph, feeds).items():
        np.testing.assert_array_equal(actual, expected[name])


def test_a_pair_alone_needs_no_integers() -> None:
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (64,))
    zero = g.constant(30, dtypes.u8)
    floor = g.max(g.quantize_linear(x, _step(g, 0.1), zero, dtype=dtypes.u8), zero)
    g.output(g.dequantize_linear(floor, _step(g, 0.1), zero), "y")
    feeds = {"x": RNG.uniform(-40, 40, 64).astype(np.float32)}
    expected = interpret(g.graph, feeds)["y"]
    assert "cast" not in _lower(g.graph)
    np.testing.assert_array_equal(interpret(g.graph, feeds)["y"], expected)


def _sums(g: GraphBuilder) -> Value:
    total = g.matmul(
        g.input("x", dtypes.u8, (4, 16)),
        g.constant(RNG.integers(-127, 128, (16, 8)), dtypes.i8),
        out_dtype=dtypes.i32,
    )
    return g.mul(g.cast(total, dtype=dtypes.f32), g.constant(np.linspace(0.001, 0.002, 8), dtypes.f32))


def test_behind_products_scales_are_merged_and_a_relu_is_a_bound() -> None:
    g = GraphBuilder()
    scaled = g.relu(g.add(_sums(g), g.constant(np.linspace(-1, 1, 8), dtypes.f32)))
    g.output(g.quantize_linear(scaled, _step(g, 0.03), g.constant(0, dtypes.u8), dtype=dtypes.u8), "y")
    feeds = {"x": RNG.integers(0, 256, (4, 16)).astype(np.uint8)}
    expected = interpret(g.graph, feeds)["y"].astype(int)
    assert _lower(g.graph) == ["matmul", "cast", "mul", "add", "round", "max", "min", "cast"]
    assert np.abs(interpret(g.graph, feeds)["y"].astype(int) - expected).max() <= 1


def test_bounds_that_hold_by_themselves_are_left_out() -> None:
    """The second grid holds all that the first one gives."""
    g = GraphBuilder()
    first = g.quantize_linear(_sums(g), _step(g, 0.1), dtype=dtypes.i8)
    wide = g.relu(g.dequantize_linear(first, _step(g, 0.1)))
    g.output(g.quantize_linear(wide, _step(g, 0.2), g.constant(0, dtypes.u8), dtype=dtypes.u8), "y")
    feeds = {"x": RNG.integers(0, 256, (4, 16)).astype(np.uint8)}
    expected = interpret(g.graph, feeds)["y"]
    assert _lower(g.graph) == ["matmul", "cast", "mul", "round", "max", "min", "mul", "round", "max", "cast"]
    np.testing.assert_array_equal(interpret(g.graph, feeds)["y"], expected)


def test_weights_that_nobody_multiplies_as_integers_are_floats_again() -> None:
    g = GraphBuilder()
    levels = RNG.integers(-128, 128, (5, 3)).astype(np.int8)
    weights = g.dequantize_linear(g.constant(levels), _step(g, [0.1, 0.2, 0.3]), axis=1)
    g.output(g.matmul(g.input("x", dtypes.f32, (2, 5)), weights), "y")
    assert _lower(g.graph) == ["matmul"]
    (node,) = g.graph.nodes
    np.testing.assert_allclose(node.inputs[1].array, levels * np.array([0.1, 0.2, 0.3]), rtol=1e-6)  # type: ignore[union-attr]
