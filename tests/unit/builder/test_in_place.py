"""Results take the memory of operands exactly where each element is read just before it is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import engineworks
import engineworks.ops  # registers the ops
from engineworks.builder import report
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ir.interpret import interpret

SIDE = 64
BYTES = SIDE * SIDE * 4
Change = Callable[[GraphBuilder, Value], Value]


def _arena_bytes(change: Change) -> int:
    """Of cum_sum -> change -> cum_sum: running sums take no part in fusion, so both ends of `change` are buffers."""
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (SIDE, SIDE))
    g.output(g.cum_sum(change(g, g.cum_sum(x, axis=0)), axis=1), "y")
    values = {"x": np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)}
    expected = interpret(g.graph, values)["y"]
    engine = engineworks.build(g.graph, effort=0, threads=2)
    for _ in range(2):
        np.testing.assert_allclose(engine(**values)["y"], expected, rtol=1e-4, atol=1e-3)
    return report.decode(engine.report).memory.arena_bytes


@pytest.mark.parametrize(
    "change",
    [
        lambda g, a: g.silu(a),
        lambda g, a: g.add(g.tanh(a), g.constant(np.ones((SIDE, 1), np.float32))),
        lambda g, a: g.where(g.greater(a, 0.0), a, g.mul(a, 0.1)),
    ],
)
def test_a_pointwise_result_lies_in_its_operand(change: Change) -> None:
    assert _arena_bytes(change) == BYTES


@pytest.mark.parametrize(
    "change",
    [
        lambda g, a: g.add(a, g.transpose(a, perm=(1, 0))),
        lambda g, a: g.slice(a, starts=(-1,), ends=(-(2**62),), axes=(1,), steps=(-1,)),
        lambda g, a: g.add(a, g.slice(a, starts=(-1,), ends=(-(2**62),), axes=(0,), steps=(-1,))),
        lambda g, a: g.softmax(a),
    ],
)
def test_elements_read_in_another_order_keep_their_memory(change: Change) -> None:
    assert _arena_bytes(change) == 2 * BYTES


def test_an_operand_that_is_read_later_stays() -> None:
    assert _arena_bytes(lambda g, a: g.matmul(g.silu(a), a)) == 3 * BYTES
