"""Which operands the kernels behind native ops can follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import engineworks
import engineworks.ops  # registers the ops
from engineworks.builder import report
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.interpret import interpret
from engineworks.passes.partition_anchor import operand_kind


def _conv(g: GraphBuilder, channels: int, size: tuple[int, ...]) -> Value:
    x = g.input("x", dtypes.f32, (2, 3, *size))
    return g.conv(x, np.random.default_rng(0).normal(size=(channels, 3, *[1] * len(size))).astype(np.float32))


def _producer(value: Value) -> Node:
    assert value.producer is not None
    return value.producer


@pytest.mark.parametrize(
    ("channels", "size", "operand", "kind"),
    [
        (4, (5, 6), (4, 1, 1), "channel"),
        (4, (5, 6), (1, 4, 1, 1), "channel"),
        (4, (5, 6), (6,), None),
        (4, (5, 6), (1,), "scalar"),
        (4, (5, 6), (2, 4, 5, 6), "full"),
        (1, (6,), (6,), None),
        (4, (1, 1), (4, 1, 1), "channel"),
        (4, (1, 4), (4,), None),
    ],
)
def test_the_channels_of_a_convolution_are_its_second_axis(channels, size, operand, kind) -> None:
    g = GraphBuilder()
    conv = _conv(g, channels, size)
    assert operand_kind(g.input("o", dtypes.f32, operand), _producer(conv)) == kind


@pytest.mark.parametrize(
    ("channels", "size", "operand"), [(1, (6,), (6,)), (4, (1, 1), (4, 1, 1)), (1, (1, 5), (5,))]
)
def test_operands_beside_axes_of_one_position_are_read_right(channels, size, operand) -> None:
    g = GraphBuilder()
    weights = g.constant(np.linspace(1, 2, int(np.prod(operand)), dtype=np.float32).reshape(operand))
    g.output(g.tanh(g.mul(_conv(g, channels, size), weights)), "y")
    values = {"x": np.random.default_rng(1).normal(size=(2, 3, *size)).astype(np.float32)}
    expected = interpret(g.graph, values)["y"]
    np.testing.assert_allclose(
        engineworks.build(g.graph, effort=0, threads=1)(**values)["y"], expected, rtol=1e-4, atol=1e-5
    )


def test_a_matrix_product_has_its_channels_last() -> None:
    g = GraphBuilder()
    product = g.matmul(g.input("a", dtypes.f32, (2, 7, 5)), g.input("b", dtypes.f32, (5, 3)))
    node = _producer(product)
    shapes = {
        (3,): "channel",
        (1, 1, 3): "channel",
        (7, 1): None,
        (2, 7, 3): "full",
        (7, 3): None,
        (): "scalar",
    }
    assert {s: operand_kind(g.input(str(s), dtypes.f32, s), node) for s in shapes} == shapes


@pytest.mark.parametrize("channels", [1, 2, 5, 20])
def test_every_kernel_of_a_convolution_follows_conditions_along_channels(
    channels: int, tmp_path: Path
) -> None:
    g = GraphBuilder()
    condition = g.constant((np.arange(channels) % 2 == 0).reshape(channels, 1, 1))
    g.output(g.where(condition, _conv(g, channels, (5, 6)), g.constant(-1.0, dtypes.f32)), "y")
    engine = engineworks.build(g.graph, effort=5, threads=1, timing_cache=tmp_path / "timings")
    (group,) = [g for g in report.decode(engine.report).groups if "where" in g.ops and g.kind == "anchor"]
    assert [a.rejected for a in group.alternatives if a.rejected] == []
