"""Weights in 8 bits beside floats: kept where the sums can be scaled, and a sentence where not."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.narrow_weights import NarrowWeights

RNG = np.random.default_rng(7)
WEIGHTS = RNG.integers(0, 127, (6, 5))
X = RNG.normal(size=(4, 6)).astype(np.float32)


def _graph(dtype: DType, scale, zero=None, axis: int = 1, block: int = 0) -> Graph:
    g = GraphBuilder()
    more = [] if zero is None else [g.constant(np.broadcast_to(zero, np.shape(scale)), dtype)]
    step = g.constant(np.asarray(scale, np.float32))
    weights = g.dequantize_linear(g.constant(WEIGHTS, dtype), step, *more, axis=axis, block=block)
    g.output(g.matmul(g.input("x", dtypes.f32, (4, 6)), weights), "y")
    return g.graph


def _run(graph: Graph) -> dict[str, str]:
    reasons: dict[str, str] = {}
    rewriter = Rewriter(graph)
    NarrowWeights(reasons).run(rewriter)
    rewriter.tidy()
    verify(graph)
    return reasons


def _operand(graph: Graph) -> DType:
    (product,) = (n for n in graph.nodes if n.op.name == "matmul")
    assert product.inputs[1] is not None
    return product.inputs[1].type.dtype


@pytest.mark.parametrize("dtype", [dtypes.i8, dtypes.u8], ids=str)
@pytest.mark.parametrize("scale", [0.1, [0.1, 0.02, 3.0, 1.0, 0.5]], ids=str)
@pytest.mark.parametrize("zero", [None, 0])
def test_weights_scaled_by_columns_stay_bytes(dtype: DType, scale, zero) -> None:
    graph = _graph(dtype, scale, zero)
    expected = interpret(graph, {"x": X})["y"]
    _run(graph)
    assert _operand(graph) is dtype
    np.testing.assert_allclose(interpret(graph, {"x": X})["y"], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.1, "zero": 3},
        {"scale": RNG.uniform(0.1, 1, 6), "axis": 0},
        {"scale": RNG.uniform(0.1, 1, (3, 5)), "axis": 0, "block": 2},
    ],
    ids=["zero point", "along the sum", "groups"],
)
def test_other_weights_are_left_to_be_computed_at_build(options: dict) -> None:
    graph = _graph(dtypes.i8, **options)
    _run(graph)
    assert _operand(graph) is dtypes.f32
