"""Every rule, on a graph it is for and on one it is not for: what is left, what it means, what the journal says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.rule import RULES, RuleSet
from engineworks.ir.verify import verify
from engineworks.rules.sets import canonical_rules, fusion_rules
from engineworks.testing.graphs import arrays_for

canonical_rules()
fusion_rules()
N = symbol("N", 1, 9)
F32 = dtypes.f32
Build = Callable[[GraphBuilder], Value]


def _draw(*shape: int, low: float = -1.0) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(low, 1.0, shape).astype(np.float32)


def _x(g: GraphBuilder, *shape) -> Value:
    return g.input(f"x{len(g.graph.inputs)}", F32, shape)


def _conv(g: GraphBuilder, *, bias: bool = False, groups: int = 1) -> Value:
    operands = [_x(g, N, 4, 6, 5), _draw(6, 4 // groups, 3, 3)] + ([_draw(6)] if bias else [])
    return g.conv(*operands, groups=groups)


def _norm(g: GraphBuilder, x: Value, channels: int) -> Value:
    return g.batch_normalization(x, *[_draw(channels)] * 3, _draw(channels, low=0.5))


def _scores(g: GraphBuilder, *, rank: int = 4) -> tuple[Value, Value]:
    shape = (2, 3, N, 8)[4 - rank :]
    q, k, v = _x(g, *shape), _x(g, *shape), _x(g, *shape)
    return g.matmul(q, g.transpose(k, perm=(*range(rank - 2), rank - 1, rank - 2))), v


def _attended(
    g: GraphBuilder, change: Callable[[Value], Value] = lambda s: s, *, axis: int = -1, rank: int = 4
) -> Value:
    scores, v = _scores(g, rank=rank)
    return g.matmul(g.softmax(change(scores), axis=axis), v)


def _triangle(g: GraphBuilder) -> Value:
    whole = g.constant(np.tri(20, dtype=bool).reshape(1, 1, 20, 20))
    return g.slice(g.slice(whole, starts=(0,), ends=(N,), axes=(2,)), starts=(0,), ends=(N,), axes=(3,))


def _chosen(g: GraphBuilder, fill: float) -> Value:
    mask = g.input("mask", dtypes.bool_, (2, 1, 1, N))
    return _attended(g, lambda s: g.where(mask, g.mul(s, 0.3), g.constant(fill, F32)))


def _masked(g: GraphBuilder, mask: np.ndarray) -> Value:
    """An attention of five queries and keys with a constant mask."""
    q, k, v = (_x(g, 2, 3, 5, 8) for _ in range(3))
    return g.attention(q, k, v, g.constant(mask.astype(np.float32)), scale=0.3)


APPLIES: list[tuple[str, Build, list[str]]] = [
    ("pow by a small constant", lambda g: g.pow(_x(g, N, 3), 2.0), ["mul"]),
    ("pow by a small constant", lambda g: g.pow(_x(g, N, 3), 3.0), ["mul", "mul"]),
    ("pow by a small constant", lambda g: g.pow(g.abs(_x(g, N, 3)), 0.5), ["abs", "sqrt"]),
    ("pow by a small constant", lambda g: g.pow(g.add(_x(g, N, 3), 3.0), -1.0), ["add", "reciprocal"]),
    ("divide by a power of two", lambda g: g.div(_x(g, N, 3), 8.0), ["mul"]),
    ("divide by a power of two", lambda g: g.div(_x(g, N, 3), -0.25), ["mul"]),
    ("drop multiplication by one", lambda g: g.relu(g.mul(g.constant(1.0, F32), _x(g, N, 3))), ["relu"]),
    ("drop identity", lambda g: g.relu(g.identity(_x(g, N))), ["relu"]),
    ("drop cast to the same dtype", lambda g: g.relu(g.cast(_x(g, N), dtype=F32)), ["relu"]),
    ("drop reshape to the same shape", lambda g: g.relu(g.reshape(_x(g, N, 3), shape=(N, 3))), ["relu"]),
    ("merge reshapes", lambda g: g.reshape(g.reshape(_x(g, N, 6), shape=(6 * N,)), shape=(N, 2, 3)), ["reshape"]),
    ("merge reshapes", lambda g: g.relu(g.reshape(g.reshape(_x(g, N, 6), shape=(6 * N,)), shape=(N, 6))), ["relu"]),
    ("merge transposes", lambda g: g.transpose(g.transpose(_x(g, N, 2, 3), perm=(1, 2, 0)), perm=(1, 2, 0)), ["transpose"]),
    ("merge transposes", lambda g: g.relu(g.transpose(g.transpose(_x(g, N, 2, 3), perm=(1, 2, 0)), perm=(2, 0, 1))), ["relu"]),
    ("drop expand to the same shape", lambda g: g.relu(g.expand(_x(g, N, 3), shape=(N, 3))), ["relu"]),
    ("fold batch_normalization into conv", lambda g: _norm(g, _conv(g), 6), ["conv"]),
    ("fold batch_normalization into conv", lambda g: _norm(g, _conv(g, bias=True, groups=2), 6), ["conv"]),
    ("fold batch_normalization into conv_transpose",
     lambda g: _norm(g, g.conv_transpose(_x(g, N, 4, 5), _draw(4, 3, 2), _draw(3), strides=(2,)), 3), ["conv_transpose"]),
    ("fold a channel scale into conv", lambda g: g.mul(_conv(g, bias=True), _draw(6, 1, 1)), ["conv"]),
    ("fold a channel scale into conv", lambda g: g.mul(g.constant(0.7, F32), _conv(g)), ["conv"]),
    ("fold a channel shift into conv", lambda g: g.add(_draw(1, 6, 1, 1), _conv(g)), ["conv"]),
    ("fold pad into conv",
     lambda g: g.conv(g.pad(_x(g, N, 4, 6), 0.0, before=(0, 0, 1), after=(0, 0, 2)), _draw(5, 4, 3), pads=(1, 0)), ["conv"]),
    ("slice of matmul",
     lambda g: g.slice(g.matmul(_x(g, N, 8), _draw(8, 12)), starts=(4,), ends=(8,), axes=(1,)), ["matmul"]),
    ("slice of matmul and bias",
     lambda g: g.slice(g.add(_draw(12), g.matmul(_x(g, 2, N, 8), _draw(8, 12))), starts=(-4,), ends=(2**62,), axes=(2,)),
     ["matmul", "add"]),
    ("slice of layer norm",
     lambda g: g.slice(g.layer_normalization(_x(g, N, 5, 8), _draw(8), _draw(8)), starts=(0,), ends=(1,), axes=(1,)),
     ["slice", "layer_normalization"]),
    ("slice of layer norm",
     lambda g: g.slice(g.layer_normalization(_x(g, N, 5, 8), _draw(5, 8), axis=1), starts=(0,), ends=(1,), axes=(0,)),
     ["slice", "layer_normalization"]),
    ("attention", _attended, ["attention"]),
    ("attention", lambda g: _attended(g, lambda s: g.div(s, 2.5)), ["attention"]),
    ("attention", lambda g: _attended(g, lambda s: g.add(g.mul(s, 0.3), _x(g, 2, 1, 1, N))), ["attention"]),
    ("attention", lambda g: _attended(g, lambda s: g.add(_x(g, N), s)), ["attention"]),
    ("attention",
     lambda g: _attended(g, lambda s: g.add(s, g.where(_triangle(g), g.constant(0.0, F32), g.constant(-np.inf, F32)))), ["attention"]),
    ("attention without its constant mask", lambda g: _masked(g, np.zeros((1, 1, 5, 5))), ["attention"]),
    ("attention without its constant mask", lambda g: _masked(g, np.where(np.tri(5), 0, -np.inf)), ["attention"]),
    ("attention adds its mask", lambda g: _chosen(g, -np.inf),
     ["transpose", "matmul", "mul", "where", "add", "softmax", "matmul"]),
    ("attention adds its mask", lambda g: _chosen(g, float(np.finfo(np.float32).min)),
     ["transpose", "matmul", "mul", "where", "add", "softmax", "matmul"]),
    ("attention adds its mask",
     lambda g: _attended(g, lambda s: g.where(g.logical_not(_triangle(g)), g.constant(-np.inf, F32), s)),
     ["transpose", "matmul", "slice", "slice", "logical_not", "where", "add", "softmax", "matmul"]),
]  # fmt: skip

STAYS: list[tuple[str, Build, str]] = [
    ("attention without its constant mask", lambda g: _masked(g, np.full((5, 5), -0.5)), "no lower triangle"),
    ("pow by a small constant", lambda g: g.pow(g.abs(_x(g, N)), 2.5), "the exponent is not"),
    ("pow by a small constant", lambda g: g.pow(_x(g, 3), g.constant(np.full((2, 1), 2.0), F32)), "the exponent is not"),
    ("divide by a power of two", lambda g: g.div(_x(g, N), 3.0), ""),
    ("drop multiplication by one", lambda g: g.mul(_x(g, N), np.nextafter(np.float32(1), np.float32(2))), "near one only"),
    ("fold batch_normalization into conv", lambda g: _norm(g, g.conv(_x(g, 1, 4, 5), _x(g, 6, 4, 3)), 6), "the filter is not constant"),
    ("fold a channel scale into conv", lambda g: g.mul(_conv(g), _draw(3)), ""),
    ("fold a channel shift into conv", lambda g: g.add(_conv(g), _draw(2, 1, 1, 1)[:1].repeat(3, axis=-1)), ""),
    ("fold pad into conv",
     lambda g: g.conv(g.pad(_x(g, N, 4, 6), before=(0, 0, 1), after=(0, 0, 1), mode="edge"), _draw(5, 4, 3)), "not zeros"),
    ("fold pad into conv", lambda g: g.conv(g.pad(_x(g, N, 3, 6), 0.0, before=(0, 1, 0), after=(0, 0, 0)), _draw(5, 4, 3)), "channels"),
    ("fold pad into conv", lambda g: g.conv(g.pad(_x(g, N, 4, 6), 0.5, before=(0, 0, 1), after=(0, 0, 1)), _draw(5, 4, 3)), "not zeros"),
    ("slice of matmul", lambda g: g.slice(g.matmul(_x(g, 9, 8), _draw(8, 12)), starts=(0,), ends=(4,), axes=(0,)), "last axis"),
    ("slice of matmul",
     lambda g: g.mul((y := g.matmul(_x(g, N, 8), _draw(8, 2))), g.slice(y, starts=(1,), ends=(2,), axes=(1,))), "whole product"),
    ("slice of layer norm",
     lambda g: g.slice(g.layer_normalization(_x(g, 9, 8), _draw(8)), starts=(0,), ends=(4,), axes=(1,)), "normalised"),
    ("slice of layer norm",
     lambda g: g.slice(g.layer_normalization(_x(g, 9, 8), _draw(9, 8)), starts=(0,), ends=(4,), axes=(0,)), "by row"),
    ("attention", lambda g: _attended(g, axis=-2), "last axis"),
    ("attention", lambda g: _attended(g, rank=3), "four is wanted"),
    ("attention", lambda g: _attended(g, lambda s: g.mul(s, _x(g, 1))), "not a constant number"),
    ("attention adds its mask", lambda g: _chosen(g, -1e4), "a row may have no visible key"),
    ("attention adds its mask", lambda g: _chosen(g, 0.0), "very negative"),
]  # fmt: skip


def _graph(build: Build) -> Graph:
    g = GraphBuilder()
    with g.origin("here"):
        g.output(build(g), "y")
    return g.graph


def _feeds(graph: Graph) -> dict[str, np.ndarray]:
    feeds = arrays_for(graph, {"N": 5})
    return {
        v.name: feeds[v.name] > 0 if v.type.dtype is dtypes.bool_ else feeds[v.name] for v in graph.inputs
    }


def _ids(case: tuple) -> str:
    return case[0].replace(" ", "_")


@pytest.mark.parametrize("case", APPLIES, ids=_ids)
def test_a_rule_leaves_what_it_says_and_keeps_the_meaning(case) -> None:
    name, build, left = case
    graph = _graph(build)
    feeds = _feeds(graph)
    expected = interpret(graph, feeds)["y"]
    rewriter = Rewriter(graph)
    RuleSet([RULES[name]]).apply(rewriter)
    verify(graph, after=name)
    assert [n.op.name for n in graph.nodes if n.op.name != "relayout"][-len(left) :] == left
    assert [(e.number, e.rule) for e in rewriter.journal] == [
        (k + 1, name) for k in range(len(rewriter.journal))
    ]
    assert rewriter.journal and all(n.origin == ("here",) for n in graph.nodes)
    np.testing.assert_allclose(interpret(graph, feeds)["y"], expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", STAYS, ids=_ids)
def test_a_rule_says_why_it_does_not_apply(case) -> None:
    name, build, why = case
    graph = _graph(build)
    before = [n.op.name for n in graph.nodes]
    rewriter = Rewriter(graph)
    RuleSet([RULES[name]]).apply(rewriter)
    assert [n.op.name for n in graph.nodes] == before and not rewriter.journal
    assert any(m.rule == name and why in m.why for m in rewriter.missed)


def test_every_rule_is_tried() -> None:
    ours = {name for name, rule in RULES.items() if ".quantise." not in type(rule).__module__}
    assert {name for name, *_ in APPLIES} == ours


def test_a_value_read_elsewhere_stays() -> None:
    g = GraphBuilder()
    conv = _conv(g)
    g.output(conv, "c")
    g.output(g.mul(conv, 2.0), "y")
    rewriter = Rewriter(g.graph)
    RuleSet([RULES["fold a channel scale into conv"]]).apply(rewriter)
    assert not rewriter.journal and "also read elsewhere" in rewriter.missed[0].why


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_a_limit_stops_after_so_many_rewrites(limit: int) -> None:
    graph = _graph(lambda g: g.identity(g.mul(g.identity(g.relu(g.identity(_x(g, N)))), 1.0)))
    feeds = _feeds(graph)
    expected = interpret(graph, feeds)["y"]
    rewriter = Rewriter(graph, limit=limit)
    canonical_rules().run(rewriter)
    verify(graph)
    assert [e.number for e in rewriter.journal] == list(range(1, limit + 1))
    np.testing.assert_array_equal(interpret(graph, feeds)["y"], expected)


@pytest.mark.parametrize("fill", [-np.inf, float(np.finfo(np.float32).min)])
def test_a_triangle_chosen_by_where_becomes_causal_attention(fill: float) -> None:
    graph = _graph(
        lambda g: _attended(g, lambda s: g.where(_triangle(g), g.mul(s, 0.25), g.constant(fill, F32)))
    )
    feeds = _feeds(graph)
    expected = interpret(graph, feeds)["y"]
    fusion_rules().run(Rewriter(graph))
    (node,) = [n for n in graph.nodes if n.op.name == "attention"]
    assert node.op.causal and node.op.past == 0 and len(node.inputs) == 3
    np.testing.assert_allclose(interpret(graph, feeds)["y"], expected, rtol=2e-5, atol=2e-6)
