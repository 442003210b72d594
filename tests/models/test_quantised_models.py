"""Explicitly quantised networks against ONNX Runtime, and calibrated ones against their floats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

onnxruntime = pytest.importorskip("onnxruntime")
quantization = pytest.importorskip("onnxruntime.quantization")

import engineworks  # noqa: E402  after the packages it needs are known to be there
from engineworks.engine import container  # noqa: E402

SHAPE = (1, 3, 24, 24)


def _samples(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.random.default_rng(k).normal(0, 1, SHAPE).astype(np.float32)} for k in range(count)]


def _network() -> onnx.ModelProto:
    """Strides, padding, a maximum, a shortcut, depthwise filters, swish, a join, a mean and a Gemm."""
    rng = np.random.default_rng(0)
    weights, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        spread = (2.0 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
        weights.append(numpy_helper.from_array(rng.normal(0, spread, shape).astype(np.float32), name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(x: str, name: str, *shape: int, **attributes) -> str:
        return node(
            "Conv", [x, weight(f"{name}_w", *shape), weight(f"{name}_b", shape[0])], name, **attributes
        )

    x = node("Relu", [conv("x", "stem", 16, 3, 3, 3, pads=[1] * 4, strides=[2, 2])], "stem_relu")
    x = node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = node("Relu", [conv(x, "in", 16, 16, 3, 3, pads=[1] * 4)], "in_relu")
    x = node("Relu", [node("Add", [x, conv(y, "out", 16, 16, 1, 1)], "sum")], "sum_relu")
    z = conv(x, "depthwise", 16, 1, 3, 3, group=16, pads=[1] * 4)
    z = node("Mul", [z, node("Sigmoid", [z], "gate")], "swish")
    x = conv(node("Concat", [x, z], "join", axis=1), "mix", 24, 32, 1, 1)
    x = node("Flatten", [node("GlobalAveragePool", [node("Relu", [x], "mix_relu")], "mean")], "flat", axis=1)
    node("Gemm", [x, weight("fc_w", 10, 24), weight("fc_b", 10)], "y", transB=1)
    graph = helper.make_graph(
        nodes, "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantised") / "floats.onnx"
    onnx.save(_network(), path)
    return path


class _Reader(quantization.CalibrationDataReader):
    def __init__(self) -> None:
        self.left = iter(_samples(6))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def _expected(path: Path) -> np.ndarray:
    return onnxruntime.InferenceSession(str(path)).run(None, _samples(9)[-1])[0]


def _report(engine: engineworks.Engine) -> dict:
    return json.loads(engine.report)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["cpu", "cpu:avx2"])
@pytest.mark.parametrize(
    ("activations", "weights", "per_channel", "symmetric"),
    [("QUInt8", "QInt8", True, False), ("QInt8", "QInt8", True, True), ("QInt8", "QInt8", False, False), ("QUInt8", "QUInt8", False, False)],
)  # fmt: skip
def test_a_quantised_network_gives_the_integers_of_onnxruntime(
    floats: Path,
    tmp_path: Path,
    target: str,
    activations: str,
    weights: str,
    per_channel: bool,
    symmetric: bool,
) -> None:
    path = tmp_path / "quantised.onnx"
    kinds = quantization.QuantType
    quantization.quantize_static(
        floats, path, _Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=per_channel,
        activation_type=kinds[activations], weight_type=kinds[weights], extra_options={"ActivationSymmetric": symmetric},
    )  # fmt: skip
    engine = engineworks.build(path, effort=0, timing_cache=False, target=target)
    actual, expected = engine.run(**_samples(9)[-1])["y"], _expected(path)
    step = np.diff(np.unique(np.abs(expected))).min()
    assert np.abs(actual - expected).max() <= 1.001 * step
    report = _report(engine)
    assert {p["precision"] for p in report["precisions"]} == {"int8"}
    assert _wide_edges(report) == []


def _wide_edges(report: dict) -> list[str]:
    """What products give each other in f32; the network's end is f32."""
    products = [g for g in report["groups"] if any(op.startswith(("conv(", "matmul")) for op in g["ops"])]
    return [str(g["origin"]) for g in products[:-1] for out in g["outputs"] if out.startswith("f32")]


def test_integer_operators_are_integer_products(floats: Path, tmp_path: Path) -> None:
    path = tmp_path / "operators.onnx"
    quantization.quantize_static(
        floats,
        path,
        _Reader(),
        quant_format=quantization.QuantFormat.QOperator,
        op_types_to_quantize=["Conv"],
    )
    engine = engineworks.build(path, effort=0, timing_cache=False)
    expected = _expected(path)
    actual = engine.run(**_samples(9)[-1])["y"]
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()
    found = {(p["op"], p["precision"]) for p in _report(engine)["precisions"]}
    assert found == {("conv", "int8"), ("matmul", "fp32")}


def test_an_edge_without_a_pair_is_named(floats: Path, tmp_path: Path) -> None:
    """Left out of quantisation: the products that read 'in_relu' stay in floats, and the report says why."""
    path = tmp_path / "part.onnx"
    quantization.quantize_static(
        floats,
        path,
        _Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        nodes_to_exclude=["out", "in_relu", "in"],
    )
    found = {
        p["origin"][-1]: p
        for p in _report(engineworks.build(path, effort=0, timing_cache=False))["precisions"]
    }
    assert found["out"]["precision"] == "fp32"
    assert "'in_relu'" in found["out"]["reason"] and "Q/DQ" in found["out"]["reason"]


@pytest.mark.parametrize("method", ["entropy", "minmax"])
def test_a_calibrated_network_is_near_its_floats(floats: Path, tmp_path: Path, method: str) -> None:
    cache = tmp_path / "network.cache"
    options = {
        "layer_precisions": {"*": "int8"}, "calibration_cache": cache, "calibration_method": method,
        "effort": 0, "timing_cache": False,
    }  # fmt: skip
    engine = engineworks.build(floats, calibrate=_samples(6), **options)
    expected = _expected(floats)
    assert np.abs(engine.run(**_samples(9)[-1])["y"] - expected).max() < 0.05 * np.abs(expected).max()
    report = _report(engine)
    assert {p["precision"] for p in report["precisions"]} == {"int8"}
    assert _wide_edges(report) == [str(g["origin"]) for g in report["groups"] if "mix" in g["origin"]]
    again = engineworks.build(floats, **options)  # from the cache, without data
    np.testing.assert_array_equal(again.run(**_samples(9)[-1])["y"], engine.run(**_samples(9)[-1])["y"])


def test_a_network_in_bf16_stores_bf16_between_products(floats: Path, tmp_path: Path) -> None:
    engine = engineworks.build(floats, layer_precisions={"*": "bf16"}, effort=0, timing_cache=False)
    expected = _expected(floats)
    assert np.abs(engine.run(**_samples(9)[-1])["y"] - expected).max() < 0.02 * np.abs(expected).max()
    path = tmp_path / "bf16.engine"
    engine.save(path)
    report = json.loads(bytes(container.read(path).sections["report"]))
    assert {p["precision"] for p in report["precisions"]} == {"bf16"}
    stored = [g["outputs"][0] for g in report["groups"] if any(op.startswith("conv(") for op in g["ops"])]
    assert [out.partition("[")[0] for out in stored] == ["bf16"] * 4 + ["f32"]
