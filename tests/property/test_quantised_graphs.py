"""Random graphs of convolutions, products, joins and Q/DQ pairs: engines compute what the graphs mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engineworks
import engineworks.ops
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value
from engineworks.ir.interpret import interpret

STEPS = (
    "conv",
    "conv",
    "depthwise",
    "relu",
    "silu",
    "pair",
    "pair",
    "pool",
    "shortcut",
    "join",
    "transpose",
    "mean",
)
Plan = list[tuple[str, int]]
PLANS = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10**6)), min_size=3, max_size=12)


def _pair(g: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    """Q and DQ with a scale that fits numbers around 1; i8 or u8, with or without a zero point."""
    dtype = (dtypes.i8, dtypes.u8)[int(rng.integers(2))]
    zero = int(rng.choice([0, 0, -128 if dtype is dtypes.i8 else 128, 7]))
    scale = g.constant(np.float32(rng.uniform(0.01, 0.05)))
    more = [g.constant(zero, dtype)] if zero or rng.integers(2) else []
    return g.dequantize_linear(g.quantize_linear(x, scale, *more, dtype=dtype), scale, *more)


def _weights(g: GraphBuilder, rng: np.random.Generator, *shape: int) -> Value:
    """Filters in i8 (one scale, or one for each), u8 with a zero point, or floats."""
    kind, levels = int(rng.integers(4)), rng.integers(0, 256, shape).astype(np.uint8)
    size = 1.0 / (74 * np.sqrt(np.prod(shape[1:])))
    if kind == 0:
        return g.constant(rng.normal(0, 74 * size, shape).astype(np.float32))
    if kind == 1:
        return g.dequantize_linear(
            g.constant(levels), g.constant(np.float32(size)), g.constant(120, dtypes.u8), axis=0
        )
    scale = (
        np.float32(size)
        if kind == 2
        else rng.uniform(0.5, 1.5, shape[0]).astype(np.float32) * np.float32(size)
    )
    return g.dequantize_linear(g.constant(levels.view(np.int8)), g.constant(scale), axis=0)


def _graph(plan: Plan) -> Graph:
    g = GraphBuilder()
    made = [g.input("x", dtypes.f32, (1, 4, 6, 6))]
    for number, (step, seed) in enumerate(plan):
        rng = np.random.default_rng(seed)
        with g.origin(f"{step}_{number}"):
            made.append(_step(g, step, made, rng))
    g.output(made[-1], "y")
    return g.graph


def _step(g: GraphBuilder, step: str, made: list[Value], rng: np.random.Generator) -> Value:
    x = made[-1]
    channels = int(x.type.shape[1])  # type: ignore[call-overload]
    alike = [v for v in made if v.type.shape == x.type.shape]
    match step:
        case "conv":
            outputs, kernel = int(rng.integers(3, 20)), int(rng.choice([1, 3]))
            bias = [g.constant(rng.normal(0, 0.3, outputs).astype(np.float32))] if rng.integers(2) else []
            pads = (kernel // 2,) * 4
            return g.conv(x, _weights(g, rng, outputs, channels, kernel, kernel), *bias, pads=pads)
        case "depthwise":
            return g.conv(x, _weights(g, rng, channels, 1, 3, 3), pads=(1, 1, 1, 1), groups=channels)
        case "relu" | "silu":
            return getattr(g, step)(x)
        case "pair":
            return _pair(g, x, rng)
        case "pool":
            return g.max_pool(x, kernel=(3, 3), pads=(1, 1, 1, 1))
        case "shortcut":
            return g.add(x, alike[int(rng.integers(len(alike)))])
        case "join":
            return g.concat(x, alike[int(rng.integers(len(alike)))], axis=1) if channels < 40 else x
        case "transpose":
            return g.transpose(x, perm=(0, 1, 3, 2))
    return g.sub(x, g.reduce_mean(x, axes=(2, 3), keepdims=True))


def _distance(plan: Plan, **options) -> tuple[np.ndarray, float]:
    """Errors of an engine, and the largest value."""
    feeds = {"x": np.random.default_rng(1).normal(0, 1, (1, 4, 6, 6)).astype(np.float32)}
    expected = interpret(_graph(plan), feeds)["y"]
    actual = engineworks.build(_graph(plan), effort=0, timing_cache=False, **options).run(**feeds)["y"]
    assert actual.shape == expected.shape
    return np.abs(actual - expected), float(np.abs(expected).max()) + 1e-6


SETTINGS = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(PLANS)
def test_explicit_pairs_keep_their_numbers(plan: Plan) -> None:
    """Rounding to another level, where sums lie between two, is rare and stays small."""
    error, largest = _distance(plan)
    assert np.mean(error > 1e-4 * largest) < 0.05
    assert error.max() < 0.15 * max(largest, 1.0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_narrow_floats_stay_near(precision: str) -> None:
    @settings(SETTINGS, max_examples=6)
    @given(PLANS)
    def near(plan: Plan) -> None:
        error, largest = _distance(plan, layer_precisions={"*": precision})
        assert np.quantile(error, 0.95) < 0.1 * max(largest, 1.0)

    near()
