"""Every quantising rule, on a graph it is for and on one it is not for: what is left, and that numbers stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.rule import RULES, RuleSet
from engineworks.ir.verify import verify
from engineworks.rules.sets import quantise_rules

quantise_rules()
N = symbol("N", 1, 9)
Build = Callable[[GraphBuilder], Value]


def _levels(*shape: int, dtype: DType = dtypes.i8) -> np.ndarray:
    """8-bit numbers over the whole range."""
    drawn = np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)
    return drawn.view(dtype.numpy)


def _numbers(
    g: GraphBuilder, *shape, dtype: DType = dtypes.u8, zero: int | None = None, scale: float = 0.05
) -> Value:
    """A dequantised input."""
    x = g.input(f"x{len(g.graph.inputs)}", dtype, shape)
    more = [] if zero is None else [g.constant(zero, dtype)]
    return g.dequantize_linear(x, np.asarray(scale, np.float32), *more)


def _weights(
    g: GraphBuilder, *shape: int, axis: int | None = None, dtype: DType = dtypes.i8, zero=None
) -> Value:
    """Dequantised constants, one scale or one for each index of an axis."""
    scale = 0.02 if axis is None else np.linspace(0.01, 0.03, shape[axis])
    more = [] if zero is None else [g.constant(np.broadcast_to(zero, np.shape(scale)), dtype)]
    return g.dequantize_linear(
        g.constant(_levels(*shape, dtype=dtype)), np.asarray(scale, np.float32), *more, axis=axis or 0
    )


def _conv(
    g: GraphBuilder, *, zero: int | None = None, w_zero=None, w_dtype: DType = dtypes.i8, bias=(), **more
) -> Value:
    x = _numbers(g, N, 4, 6, 5, zero=zero)
    return g.conv(
        x, _weights(g, 6, 4, 3, 3, axis=0, dtype=w_dtype, zero=w_zero), *bias, pads=(1, 1, 1, 1), **more
    )


def _whole_bias(g: GraphBuilder) -> Value:
    scale = np.linspace(0.01, 0.03, 6).astype(np.float32) * np.float32(0.05)
    return g.dequantize_linear(g.constant(np.arange(-300, 300, 100, dtype=np.int32)), scale, axis=0)


def _requantised(
    g: GraphBuilder, x: Value, scale: float = 0.05, zero: int = 0, dtype: DType = dtypes.u8
) -> Value:
    return g.quantize_linear(x, np.asarray(scale, np.float32), g.constant(zero, dtype), dtype=dtype)


def _floats(g: GraphBuilder, *shape) -> Value:
    return g.relu(g.input(f"x{len(g.graph.inputs)}", dtypes.f32, shape))


def _by_rows(g: GraphBuilder, *shape, per_column: np.ndarray) -> Value:
    """A product as torchao writes it: of a matrix of rows, factors behind it, then in the shape that was asked for."""
    rows = g.reshape(_floats(g, *shape, 8), shape=(shape[0] * 3, 8) if len(shape) > 1 else (shape[0], 8))
    product = g.mul(g.matmul(rows, _weights(g, 8, 4)), g.constant(per_column, dtypes.f32))
    return g.reshape(product, shape=(*shape, 4))


INTEGERS = ["conv", "cast", "mul"]
APPLIES: list[tuple[str, Build, list[str]]] = [
    ("dequantise behind a move", lambda g: g.transpose(_numbers(g, N, 3, zero=7), perm=(1, 0)), ["transpose", "dequantize_linear"]),
    ("dequantise behind a move", lambda g: g.reshape(_numbers(g, N, 6), shape=(6 * N,)), ["reshape", "dequantize_linear"]),
    ("dequantise behind a move",
     lambda g: g.max_pool(_numbers(g, N, 2, 5, dtype=dtypes.i8, zero=-3), kernel=(2,)), ["max_pool", "dequantize_linear"]),
    ("dequantise behind a move", lambda g: g.transpose(_weights(g, 4, 3, axis=0), perm=(1, 0)), ["dequantize_linear"]),
    ("dequantise behind a gather",
     lambda g: g.gather(_numbers(g, 7, 3), g.input("i", dtypes.i64, (N,))), ["gather", "dequantize_linear"]),
    ("dequantise behind a pad",
     lambda g: g.pad(_numbers(g, N, 3, zero=9), 0.0, before=(0, 1), after=(0, 1)), ["pad", "dequantize_linear"]),
    ("dequantise behind relu", lambda g: g.relu(_numbers(g, N, 3, zero=99)), ["max", "dequantize_linear"]),
    ("dequantise behind a concat",
     lambda g: g.concat(_numbers(g, N, 3, zero=9), _numbers(g, N, 2, zero=9), axis=1), ["concat", "dequantize_linear"]),
    ("quantise before a move", lambda g: _requantised(g, g.transpose(_floats(g, N, 3), perm=(1, 0))),
     ["relu", "quantize_linear", "transpose"]),
    ("quantise before a move", lambda g: _requantised(g, g.max_pool(_floats(g, N, 3, 5), kernel=(2,))),
     ["relu", "quantize_linear", "max_pool"]),
    ("quantise before a concat", lambda g: _requantised(g, g.concat(_floats(g, N, 3), _floats(g, N, 2), axis=1)),
     ["quantize_linear", "quantize_linear", "concat"]),
    ("drop quantise of the same grid", lambda g: g.max(_requantised(g, _numbers(g, N, 3, zero=5), zero=5), 3), ["max"]),
    ("signed to unsigned",
     lambda g: g.dequantize_linear(
         _requantised(g, _floats(g, N, 3), zero=-128, dtype=dtypes.i8), np.asarray(0.05, np.float32), g.constant(-128, dtypes.i8)),
     ["relu", "quantize_linear", "dequantize_linear"]),
    ("integer conv", _conv, INTEGERS),
    ("integer conv", lambda g: _conv(g, zero=130), ["pad", *INTEGERS]),
    ("integer conv", lambda g: _conv(g, w_zero=0), INTEGERS),
    ("integer conv", lambda g: _conv(g, w_zero=128, w_dtype=dtypes.u8), INTEGERS),
    ("integer conv", lambda g: _conv(g, zero=3, w_zero=77, w_dtype=dtypes.u8), ["pad", "conv", "conv", "add", "cast", "mul"]),
    ("integer conv", lambda g: _conv(g, bias=(_whole_bias(g),)), INTEGERS),
    ("integer conv", lambda g: _conv(g, bias=(g.constant(np.ones(6, np.float32)),)), [*INTEGERS, "reshape", "add"]),
    ("integer matmul", lambda g: g.matmul(_numbers(g, N, 8), _weights(g, 8, 5, axis=1)), ["matmul", "cast", "mul"]),
    ("integer matmul", lambda g: g.matmul(_numbers(g, N, 8, zero=131), _weights(g, 8, 5)), ["matmul", "add", "cast", "mul"]),
    ("integer matmul",
     lambda g: g.matmul(_numbers(g, 2, N, 8, zero=131), _numbers(g, 2, 8, 3, zero=120)),
     ["sub", "cast", "mul"]),
    ("weights in bytes by all rows", lambda g: _by_rows(g, N, 3, per_column=np.arange(4)), ["matmul", "mul"]),
]  # fmt: skip

STAYS: list[tuple[str, Build, str]] = [
    ("dequantise behind a move", lambda g: g.resize(_numbers(g, 1, 1, 4), sizes=(1, 1, 7), mode="linear"), "mixes"),
    ("dequantise behind a concat",
     lambda g: g.concat(_numbers(g, N, 3), _numbers(g, N, 2, scale=0.1), axis=1), "of their own"),
    ("dequantise behind a concat", lambda g: g.concat(_numbers(g, N, 3), _floats(g, N, 2), axis=1), "piece 1"),
    ("dequantise behind a pad", lambda g: g.pad(_numbers(g, N, 3), 0.5, before=(0, 1), after=(0, 1)), "not zeros"),
    ("drop quantise of the same grid", lambda g: _requantised(g, _numbers(g, N, 3), scale=0.06), "rounded anew"),
    ("integer conv", lambda g: g.conv(_numbers(g, N, 4, 5), _weights(g, 3, 4, 2, axis=1)), "another axis"),
    ("integer conv", lambda g: g.conv(_numbers(g, N, 4, 5), _numbers(g, 3, 4, 2)), "not known at build"),
    ("integer matmul", lambda g: g.matmul(_numbers(g, N, 8), _weights(g, 8, 5, axis=0)), "summed"),
    ("weights in bytes by all rows", lambda g: _by_rows(g, N, per_column=np.arange(4)), "the result is a matrix of rows"),
    ("weights in bytes by all rows", lambda g: _by_rows(g, N, 3, per_column=np.ones((1, 4))), "others behind the product"),
]  # fmt: skip


def _graph(build: Build) -> Graph:
    g = GraphBuilder()
    with g.origin("here"):
        g.output(build(g), "y")
    return g.graph


def _feeds(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)

    def draw(value: Value) -> np.ndarray:
        shape = tuple(5 if d is N else int(d) for d in value.type.shape)  # type: ignore[call-overload]
        if value.type.dtype.is_float:
            return rng.normal(0, 3, shape).astype(np.float32)
        if value.type.dtype is dtypes.i64:
            return rng.integers(0, 7, shape)
        return rng.integers(0, 256, shape).astype(np.uint8).view(value.type.dtype.numpy)

    return {v.name: draw(v) for v in graph.inputs}


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
    rewriter.tidy()
    verify(graph, after=name)
    assert [n.op.name for n in graph.nodes][-len(left) :] == left
    assert rewriter.journal and all(n.origin == ("here",) for n in graph.nodes)
    tight = 1e-6 * np.abs(expected.astype(np.float64)).max()
    np.testing.assert_allclose(interpret(graph, feeds)["y"], expected, rtol=2e-6, atol=tight)


@pytest.mark.parametrize("case", STAYS, ids=_ids)
def test_a_rule_says_why_it_does_not_apply(case) -> None:
    name, build, why = case
    graph = _graph(build)
    before = [n.op.name for n in graph.nodes]
    rewriter = Rewriter(graph)
    RuleSet([RULES[name]]).apply(rewriter)
    assert [n.op.name for n in graph.nodes] == before and not rewriter.journal
    assert any(m.rule == name and why in m.why for m in rewriter.missed)


def test_every_quantising_rule_is_tried() -> None:
    ours = {name for name, rule in RULES.items() if ".quantise." in type(rule).__module__}
    assert {name for name, *_ in APPLIES} == ours


def test_all_rules_together_leave_no_float_between_products() -> None:
    """conv -> Q/DQ -> relu -> max_pool -> Q/DQ -> conv: integers from the first product to the last."""
    g = GraphBuilder()
    first = _requantised(g, _conv(g, zero=0), scale=0.3, zero=12)
    numbers = g.max_pool(
        g.relu(g.dequantize_linear(first, np.asarray(0.3, np.float32), g.constant(12, dtypes.u8))),
        kernel=(2, 2),
    )
    narrow = _requantised(g, numbers, scale=0.2)
    g.output(
        g.conv(g.dequantize_linear(narrow, np.asarray(0.2, np.float32)), _weights(g, 3, 6, 1, 1, axis=0)), "y"
    )
    quantise_rules().run(Rewriter(g.graph))
    stored = [n.inputs[0].type.dtype.name for n in g.graph.nodes if n.op.name in ("conv", "max_pool")]  # type: ignore[union-attr]
    assert stored == ["u8", "u8", "u8"]
