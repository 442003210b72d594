"""Calibration end to end: what the measuring engine saw, against the interpreter's values in numpy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

import engineworks
import engineworks.ops
from engineworks.builder.calibrated_build import ranges_for
from engineworks.builder.calibrating import calibrate_graph, calibrate_model
from engineworks.builder.config import BuildConfig
from engineworks.calibration.calibrate import calibrate
from engineworks.calibration.histogram import BINS
from engineworks.calibration.methods import Percentile
from engineworks.calibration.observe import measuring
from engineworks.core import dtypes
from engineworks.errors import CalibrationError
from engineworks.ir import GraphBuilder
from engineworks.ir.graph import Graph, Region
from engineworks.ir.interpret import interpret
from engineworks.ir.text import print_graph

CONFIG = BuildConfig()
Batches = list[dict[str, np.ndarray]]


def small_network(batch: int | str = 2) -> Graph:
    """conv → relu → conv, added to the first relu, pooled, a matmul: named as an importer would name them."""
    rng = np.random.default_rng(0)
    g = GraphBuilder()
    first = batch if isinstance(batch, int) else g.graph.scope.symbol(batch, 1, 5)
    x = g.input("x", dtypes.f32, (first, 3, 12, 12))

    def weight(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 4).astype(np.float32)

    with g.origin("conv0"):
        a = g.conv(x, weight(8, 3, 3, 3), pads=(1, 1, 1, 1))
    b = g.relu(a)
    c = g.conv(b, weight(8, 8, 3, 3), pads=(1, 1, 1, 1))
    d = g.add(b, c)
    e = g.reduce_mean(d, axes=(2, 3), keepdims=False)
    f = g.reshape(e, shape=(first, 8))
    y = g.matmul(f, weight(8, 5))
    for value, name in ((a, "a"), (b, "b"), (d, "d"), (e, "e"), (y, "y")):
        value.name = name
    g.output(y, "y")
    return g.graph


def batches(count: int, size: int = 2) -> Batches:
    rng = np.random.default_rng(1)
    grows = (1.0, 0.5, 3.0, 9.0, 0.1)
    return [
        {"x": (grows[k % 5] * rng.standard_normal((size, 3, 12, 12))).astype(np.float32)}
        for k in range(count)
    ]


def interpreted(graph: Graph, data: Batches) -> dict[str, np.ndarray]:
    """All values of all batches by name, flat."""
    found: dict[str, list[np.ndarray]] = {"x": [batch["x"].ravel() for batch in data]}

    def watch(node, results) -> None:
        for value, array in zip(node.outputs, results, strict=True):
            found.setdefault(value.name, []).append(np.asarray(array).ravel())

    for batch in data:
        interpret(graph, batch, watch=watch)
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def test_every_activation_gets_the_range_of_its_values() -> None:
    graph, data = small_network(), batches(7)
    result = calibrate_graph(graph, data, CONFIG, method="minmax")
    values = interpreted(graph, data)
    assert set(result.ranges) == set(values)
    for name, array in values.items():
        seen = result.statistics[name]
        np.testing.assert_allclose((seen.low, seen.high), (array.min(), array.max()), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.ranges[name] * 127, np.abs(array).max(), rtol=1e-4)
        assert seen.elements == array.size
        assert seen.clipped == 0
    assert (result.batches, result.samples) == (7, 14)


def test_a_percentile_of_batches_that_grow_is_that_of_all_values() -> None:
    graph, data = small_network(), batches(10)
    result = calibrate_graph(graph, data, CONFIG, method=Percentile(99))
    for name, array in interpreted(graph, data).items():
        width = np.abs(array).max() * 2 / BINS  # the limit may be up to twice the largest value
        expected = np.percentile(np.abs(array), 99, method="inverted_cdf")
        assert abs(result.statistics[name].range - expected) <= 1.01 * width
        assert result.statistics[name].clipped <= 0.0101


def test_nameless_values_get_the_same_names_each_time() -> None:
    one, two = small_network(), small_network()
    assert list(calibrate_graph(one, batches(1), CONFIG).ranges) == list(
        calibrate_graph(two, batches(1), CONFIG).ranges
    )
    assert {v.name for v in one.values() if not v.is_constant} >= {"graph:conv", "graph:reshape"}


def test_the_graph_stays_as_it_was() -> None:
    graph = small_network()
    measuring(graph)
    before = print_graph(graph)
    calibrate_graph(graph, batches(1), CONFIG)
    assert print_graph(graph) == before


def test_the_result_is_the_same_each_time_and_for_any_cut_of_the_samples() -> None:
    data = batches(6)
    joined = {"x": np.concatenate([b["x"] for b in data])}
    first, second = (calibrate_graph(small_network(), data, CONFIG) for _ in range(2))
    assert first.ranges.encode() == second.ranges.encode()
    cut_again = calibrate_graph(small_network(), [joined], CONFIG)
    assert cut_again.batches == 6
    assert cut_again.ranges.encode() == first.ranges.encode()


def test_a_batch_axis_with_a_range_takes_batches_of_any_size() -> None:
    config = BuildConfig(profile={"x": ((1, 3, 12, 12), (2, 3, 12, 12), (5, 3, 12, 12))})
    samples = np.concatenate([b["x"] for b in batches(6)])
    result = calibrate_graph(small_network("N"), (samples[:1], samples[1:]), config, method="minmax")
    assert result.samples == 12
    assert result.batches == 4  # 1, then 5 + 5 + 1
    fixed = calibrate_graph(small_network(2), [samples], CONFIG, method="minmax")
    for name in ("x", "a", "d", "y"):
        np.testing.assert_allclose(result.ranges[name], fixed.ranges[name], rtol=1e-4)


def test_samples_that_fill_no_batch_are_named() -> None:
    samples = np.concatenate([b["x"] for b in batches(2)])[:3]
    result = calibrate_graph(small_network(2), [samples], CONFIG, method="minmax")
    assert result.samples == 2
    assert result.warnings[0].startswith("1 samples filled no whole batch")


def test_memory_does_not_grow_with_the_data() -> None:
    def many(count: int) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(2)
        for _ in range(count):
            yield rng.standard_normal((2, 3, 12, 12)).astype(np.float32)

    peaks = []
    for count in (5, 60):
        tracemalloc.start()
        calibrate_graph(small_network(), many(count), CONFIG, method="minmax")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_progress_counts_samples() -> None:
    said: list[tuple[int, int, str]] = []
    calibrate_graph(small_network(), batches(3), CONFIG, progress=lambda *args: said.append(args))
    assert said == [(2, 6, "batch 1"), (4, 6, "batch 2"), (6, 6, "batch 3")]
    said.clear()
    calibrate_graph(
        small_network(), iter(batches(2, size=4)), CONFIG, progress=lambda *args: said.append(args)
    )
    assert [(done, total) for done, total, _ in said] == [(2, 4), (4, 4), (6, 8), (8, 8)]


def with_odd_values() -> Graph:
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (1, 8))
    for name, value in (("zero", g.mul(x, 0.0)), ("log", g.log(x)), ("fine", g.mul(x, 2.0))):
        value.name = name
        g.output(g.matmul(value, np.ones((8, 2), np.float32)), name)
    unread = g.mul(x, 0.0)
    unread.name = "unread"
    g.output(unread, "unread")
    return g.graph


def test_zeros_and_values_that_are_not_finite_have_no_range_and_are_named() -> None:
    data = [np.full((1, 8), 1.0, np.float32), np.full((1, 8), -1.0, np.float32)]
    result = calibrate_graph(with_odd_values(), data, CONFIG)
    assert [result.ranges.scale_of(name) is None for name in ("zero", "log", "fine")] == [True, True, False]
    told = "\n".join(result.warnings)
    assert "'zero' has no range and stays in floating point: it was zero in every batch" in told
    assert "'log' has no range and stays in floating point: it takes values that are NaN or infinite" in told
    assert "fine" not in told
    assert "unread" not in told  # no product reads it: it would stay in floating point anyway
    assert result.statistics["unread"].problem == "it was zero in every batch"


def test_zeros_before_values_do_not_spoil_the_histogram() -> None:
    rng = np.random.default_rng(3)
    later = [rng.standard_normal((1, 8)).astype(np.float32) for _ in range(20)]
    zeros = [np.zeros((1, 8), np.float32)] * 2
    mixed = calibrate_graph(with_odd_values(), [*zeros, *later, *zeros], CONFIG, method=Percentile(90))
    everything = 2 * np.abs(np.concatenate([*zeros, *later, *zeros]))
    expected = np.percentile(everything, 90, method="inverted_cdf")
    assert abs(mixed.statistics["fine"].range - expected) <= 2 * everything.max() / BINS


def test_ranges_that_clip_much_are_warned_of() -> None:
    result = calibrate_graph(small_network(), batches(4), CONFIG, method=Percentile(95), max_clipped=0.02)
    told = [w for w in result.warnings if w.startswith("'x'")]
    assert len(told) == 1
    assert "clips" in told[0] and "max_clipped = 2.00%" in told[0]
    quiet = calibrate_graph(small_network(), batches(4), CONFIG, method=Percentile(95), max_clipped=0.06)
    assert quiet.warnings == ()


def test_narrow_floats_are_measured_in_f32() -> None:
    g = GraphBuilder()
    x = g.input("x", dtypes.f16, (4,))
    y = g.mul(x, 2.0)
    y.name = "y"
    g.output(y, "y")
    result = calibrate_graph(g.graph, [np.array([1, -2, 3, 0.5], np.float16)], CONFIG, method="minmax")
    np.testing.assert_allclose([result.ranges["x"] * 127, result.ranges["y"] * 127], [3, 6], rtol=1e-6)


def test_no_data_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="there is no calibration data"):
        calibrate_graph(small_network(), [], CONFIG)
    used = iter(batches(1))
    next(used)
    with pytest.raises(CalibrationError, match="a generator that was read before is empty now"):
        calibrate_graph(small_network(), used, CONFIG)


def test_a_shape_that_the_engine_refuses_names_the_batch() -> None:
    data = [*batches(2), {"x": np.zeros((2, 3, 12, 13), np.float32)}]
    with pytest.raises(CalibrationError, match=r"(?s)calibration batch 3 does not fit: .*'x'"):
        calibrate_graph(small_network(), data, CONFIG)


def test_calibrate_takes_any_engine() -> None:
    class Interpreter:
        def __init__(self, graph: Graph) -> None:
            self.graph = graph

        def run(self, /, **arrays: np.ndarray) -> dict[str, np.ndarray]:
            return interpret(self.graph, arrays)

    native = calibrate_graph(small_network(), batches(4), CONFIG)
    slow = calibrate(small_network(), batches(4), compile=Interpreter)
    assert list(slow.ranges) == list(native.ranges)
    for name, seen in slow.statistics.items():
        assert seen.high == pytest.approx(native.statistics[name].high, rel=1e-4, abs=1e-5)


def test_a_trained_network_keeps_its_tensors_names() -> None:
    zoo = pytest.importorskip("benchmarks.zoo")
    packaged = pytest.importorskip("benchmarks.models.packaged")
    try:
        model = zoo.get("magika", size="small")
    except packaged.PackageMissing as missing:
        pytest.skip(str(missing))
    result = calibrate_model(str(model.path), [model.inputs], CONFIG)
    import onnx

    graph = onnx.load(model.path, load_external_data=False).graph
    names = {o for node in graph.node for o in node.output} | {i.name for i in graph.input}
    named = [name for name in result.ranges if name in names]
    assert len(named) > 0.9 * len(result.ranges)
    convolved = {node.input[0] for node in graph.node if node.op_type in ("Conv", "MatMul")}
    assert len(convolved & set(named)) > 0.9 * len(convolved)


def test_what_follows_from_constants_alone_is_no_activation() -> None:
    g = GraphBuilder()
    x = g.input("x", dtypes.f32, (1, 4))
    weights = g.dequantize_linear(g.constant(np.ones((4, 2), np.int8)), g.constant(np.float32(0.5)))
    weights.name = "weights"
    y = g.matmul(x, weights)
    y.name = "y"
    g.output(y, "y")
    assert [each.name for each in measuring(g.graph).observed] == ["x", "y"]


def test_a_cache_serves_values_that_the_model_does_not_name() -> None:
    graph, again = small_network(), small_network()
    ranges = calibrate_graph(graph, batches(2), CONFIG).ranges
    ranges_for(again, BuildConfig(calibration_cache=ranges))
    assert [v.name for n in again.nodes for v in n.outputs] == [
        v.name for n in graph.nodes for v in n.outputs
    ]


def test_bodies_of_branches_are_not_measured_and_stay_whole() -> None:
    bodies = []
    for scale in (2.0, -3.0):
        body = GraphBuilder()
        inner = body.input("inner", dtypes.f32, (4,))
        body.output(body.mul(inner, scale), "result")
        bodies.append(Region(body.graph))
    g = GraphBuilder()
    x, condition = g.input("x", dtypes.f32, (4,)), g.input("condition", dtypes.bool_, ())
    moved = g.add(x, 1.0)
    y = g.if_(
        condition, moved, moved, then=bodies[0], otherwise=bodies[1], then_inputs=1, types=(moved.type,)
    )
    moved.name, y.name = "moved", "y"
    g.output(y, "y")
    data = [{"x": np.arange(4, dtype=np.float32), "condition": np.asarray(k > 0)} for k in range(2)]
    result = calibrate_graph(g.graph, data, CONFIG, method="minmax")
    assert {name: scale * 127 for name, scale in result.ranges.items()} == pytest.approx(
        {"x": 3, "moved": 4, "y": 12}
    )
    built = engineworks.build(g.graph, effort=0)
    np.testing.assert_allclose(built.run(**data[0])["y"], -3 * (data[0]["x"] + 1), rtol=1e-6)
