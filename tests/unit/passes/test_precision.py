"""Weak typing: what becomes narrow, who reads it, what stays, and the reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import BuildError
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Node, Value
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.narrow_attention import NarrowAttention
from engineworks.passes.narrow_io import NarrowInputsOutputs
from engineworks.passes.precision import LayerPrecision, NarrowProducts, Policy

RNG = np.random.default_rng(5)


def _always(wanted: str) -> Callable[[Node, Sequence[str]], tuple[str, str]]:
    return lambda _, possible: (wanted, "chosen") if wanted in possible else ("fp32", "not possible")


def _narrow(graph: Graph, wanted: str = "bf16", **more) -> list[LayerPrecision]:
    told: list[LayerPrecision] = []
    policy = Policy(frozenset(more.pop("allowed", {wanted})), _always(wanted), **more)
    rewriter = Rewriter(graph)
    NarrowProducts(policy, told.append, {}).run(rewriter)
    rewriter.tidy()
    verify(graph)
    return told


def _weights(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.3, shape).astype(np.float32)


def _graph(build: Callable[[GraphBuilder, Value], Value], *shape: int, dtype: DType = dtypes.f32) -> Graph:
    g = GraphBuilder()
    x = g.input("x", dtype, shape)
    with g.origin("layer"):
        g.output(build(g, x), "y")
    return g.graph


def _operands(graph: Graph, op: str) -> list[list[str]]:
    return [[v.type.dtype.name for v in n.inputs if v is not None] for n in graph.nodes if n.op.name == op]


def _residual(g: GraphBuilder, x: Value) -> Value:
    """conv, then a second one beside a shortcut: the value between is read by both."""
    between = g.relu(g.conv(x, _weights(6, 4, 3, 3), _weights(6), pads=(1, 1, 1, 1)))
    return g.relu(g.add(g.conv(between, _weights(6, 6, 1, 1)), between))


def test_operands_are_narrow_and_sums_are_not() -> None:
    graph = _graph(_residual, 1, 4, 5, 5)
    feeds = {"x": RNG.normal(0, 1, (1, 4, 5, 5)).astype(np.float32)}
    expected = interpret(graph, feeds)["y"]
    told = _narrow(graph)
    assert [(t.origin, t.op, t.precision, t.reason) for t in told] == [
        (("layer",), "conv", "bf16", "chosen")
    ] * 2
    assert _operands(graph, "conv") == [["bf16", "bf16", "f32"], ["bf16", "bf16"]]
    assert all(n.output.type.dtype is dtypes.f32 for n in graph.nodes if n.op.name == "conv")
    actual = interpret(graph, feeds)["y"]
    assert 0 < np.abs(actual - expected).max() < 0.02 * np.abs(expected).max()


def test_a_shortcut_of_convolutions_reads_what_is_stored() -> None:
    """The f32 value has one reader, the cast: only the narrow form has to be kept."""
    graph = _graph(_residual, 1, 4, 5, 5)
    _narrow(graph)
    between = next(n for n in graph.nodes if n.op.name == "relu").output
    assert [u.op.name for u, _ in between.uses] == ["cast"]
    add = next(n for n in graph.nodes if n.op.name == "add")
    assert any(v.producer.op.name == "cast" for v in add.inputs)  # type: ignore[union-attr]


def test_what_norms_read_stays_wide() -> None:
    def build(g: GraphBuilder, x: Value) -> Value:
        stream = g.matmul(x, _weights(8, 8))
        normed = g.layer_normalization(stream, _weights(8), _weights(8), axis=-1)
        return g.add(g.matmul(normed, _weights(8, 8)), g.matmul(stream, _weights(8, 8)))

    graph = _graph(build, 3, 8)
    _narrow(graph)
    norm = next(n for n in graph.nodes if n.op.name == "layer_normalization")
    assert norm.inputs[0].producer.op.name == "matmul"  # type: ignore[union-attr]
    assert norm.inputs[0].type.dtype is dtypes.f32  # type: ignore[union-attr]


def test_narrow_forms_are_made_in_front_of_views_and_joins() -> None:
    def build(g: GraphBuilder, x: Value) -> Value:
        parts = [g.relu(g.conv(x, _weights(4, 4, 1, 1))) for _ in range(2)]
        joined = g.max_pool(g.concat(*parts, axis=1), kernel=(2, 2))
        return g.conv(joined, _weights(3, 8, 1, 1))

    graph = _graph(build, 1, 4, 4, 4)
    _narrow(graph)
    assert _operands(graph, "concat") == [["bf16", "bf16"]]
    assert _operands(graph, "max_pool") == [["bf16"]]


def test_fp16_narrows_the_weights_of_matmuls_alone() -> None:
    graph = _graph(lambda g, x: g.matmul(g.conv(x, _weights(4, 4, 1)), _weights(6, 5)), 1, 4, 6)
    told = _narrow(graph, "fp16")
    assert [t.precision for t in told] == ["fp32", "fp16"]
    assert "only constant factors" in told[0].reason
    assert _operands(graph, "matmul") == [["f32", "f16"]]


@pytest.mark.parametrize("dtype", [dtypes.f16, dtypes.bf16])
def test_narrow_models_sum_in_f32(dtype: DType) -> None:
    bias = RNG.normal(0, 1, 3).astype(dtype.numpy)
    weights = _weights(3, 4, 3).astype(dtype.numpy)
    graph = _graph(lambda g, x: g.conv(x, weights, bias), 2, 4, 6, dtype=dtype)
    feeds = {"x": RNG.normal(0, 1, (2, 4, 6)).astype(dtype.numpy)}
    expected = interpret(graph, feeds)["y"].astype(np.float64)
    told = _narrow(graph, allowed=())
    assert told[0].reason == "the model's own type"
    (conv,) = [n for n in graph.nodes if n.op.name == "conv"]
    assert conv.output.type.dtype is dtypes.f32 and conv.inputs[2].type.dtype is dtypes.f32  # type: ignore[union-attr]
    assert graph.outputs[0].type.dtype is dtype
    np.testing.assert_allclose(
        interpret(graph, feeds)["y"].astype(np.float64), expected, rtol=2e-2, atol=1e-2
    )


def test_layers_that_are_asked_for_win_and_the_last_match_counts() -> None:
    graph = _graph(lambda g, x: g.matmul(x, _weights(8, 8)), 3, 8)
    told = _narrow(graph, layers=(("lay*", "bf16"), ("layer", "fp32")))
    assert (told[0].precision, told[0].reason) == ("fp32", "asked for by layer_precisions")
    assert _narrow(graph, layers=(("lay*", "fp32"),), constraints="none")[0].precision == "bf16"


def test_wishes_that_cannot_be() -> None:
    wish = (("*", "int8"),)
    graph = _graph(lambda g, x: g.matmul(x, _weights(8, 8)), 3, 8)
    with pytest.raises(BuildError, match=r"asks for int8 at 'layer' \(matmul\).*no calibration"):
        _narrow(graph, layers=wish, constraints="obey")
    assert _narrow(graph, layers=wish, allowed=())[0].reason.startswith("int8: no calibration")


def test_inputs_and_outputs_can_be_narrow() -> None:
    graph = _graph(lambda g, x: g.relu(x), 2, 3)
    rewriter = Rewriter(graph)
    NarrowInputsOutputs(dtypes.f16).run(rewriter)
    rewriter.tidy()
    verify(graph)
    assert [v.type.dtype for v in (*graph.inputs, *graph.outputs)] == [dtypes.f16, dtypes.f16]
    x = np.array([[-1, 0.1, 2], [3, 4, -5]], np.float16)
    np.testing.assert_array_equal(interpret(graph, {"x": x})["y"], np.maximum(x, 0))


def _attend(g: GraphBuilder, x: Value, *mask: Value) -> Value:
    """Projections of x, attention, and the projection of what it gives."""

    def heads(weights: np.ndarray) -> Value:
        return g.transpose(g.reshape(g.matmul(x, weights), shape=(1, 6, 2, 8)), perm=(0, 2, 1, 3))

    q, k, v = (heads(_weights(16, 16)) for _ in range(3))
    seen = g.transpose(g.attention(q, k, v, *mask, scale=0.35), perm=(0, 2, 1, 3))
    return g.matmul(g.reshape(seen, shape=(1, 6, 16)), _weights(16, 16))


def _narrow_attention(graph: Graph) -> list[LayerPrecision]:
    told: list[LayerPrecision] = []
    policy = Policy(frozenset({"bf16"}), _always("bf16"))
    rewriter = Rewriter(graph)
    for each in (NarrowAttention(policy, told.append), NarrowProducts(policy, told.append, {})):
        each.run(rewriter)
        rewriter.tidy()
    verify(graph)
    return told


def test_attention_reads_and_stores_narrow_values_between_narrow_products() -> None:
    hidden = np.where(np.arange(6) < 4, 0, np.finfo(np.float32).min).astype(np.float32)
    graph = _graph(lambda g, x: _attend(g, x, g.constant(hidden.reshape(1, 1, 1, 6))), 1, 6, 16)
    feeds = {"x": RNG.normal(0, 1, (1, 6, 16)).astype(np.float32)}
    expected = interpret(graph, feeds)["y"]
    told = _narrow_attention(graph)
    assert {(t.op, t.precision) for t in told} == {("attention", "bf16"), ("matmul", "bf16")}
    assert _operands(graph, "attention") == [["bf16"] * 4]
    last = [n for n in graph.nodes if n.op.name == "matmul"][-1]
    assert last.inputs[0].producer.op.name == "reshape"  # type: ignore[union-attr]  # no cast in between
    actual = interpret(graph, feeds)["y"]
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() < 0.03 * np.abs(expected).max()


def test_attention_with_a_bias_for_each_query_stays_wide() -> None:
    graph = _graph(lambda g, x: _attend(g, x, g.constant(_weights(1, 2, 6, 6))), 1, 6, 16)
    told = _narrow_attention(graph)
    assert told[0].precision == "fp32" and "differs by query" in told[0].reason
    assert _operands(graph, "attention") == [["f32"] * 4]
