"""Flags and wishes of precision, in engines and in the log."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import engineworks.tensorrt as trt
from engineworks.builder import report

SOURCE = np.random.default_rng(5)
FILTERS = SOURCE.normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32)
HEAD = SOURCE.normal(0, 0.2, (32, 16)).astype(np.float32)
BATCHES = SOURCE.standard_normal((8, 2, 32, 16, 16)).astype(np.float32)


def _model() -> bytes:
    """Two convolutions with ReLU, a mean and a product: each gains by 8 bits."""
    nodes = [
        helper.make_node("Conv", ["x", "f"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "f"], ["d"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["d"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["v"], name="flat"),
        helper.make_node("MatMul", ["v", "w"], ["y"], name="fc"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 32, 16, 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 16])
    weights = [numpy_helper.from_array(FILTERS, "f"), numpy_helper.from_array(HEAD, "w")]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


class Calibrator(trt.IInt8EntropyCalibrator2):
    """Gives BATCHES."""

    def __init__(self) -> None:
        super().__init__()
        self.left = list(BATCHES)

    def get_batch_size(self) -> int:
        return 2

    def get_batch(self, names):
        return [self.left.pop()] if self.left else None


class _Build:
    """A parsed network and a config."""

    def __init__(self, logger, flags: int = 1) -> None:
        self.logger, self.builder = logger, trt.Builder(logger)
        self.network = self.builder.create_network(flags)
        assert trt.OnnxParser(self.network, logger).parse(_model())
        self.config = self.builder.create_builder_config()
        self.config.builder_optimization_level = 0

    def layer(self, name: str) -> trt.ILayer:
        return next(layer for layer in self.network if layer.name == name)

    def allow(self, *flags: trt.BuilderFlag) -> None:
        for flag in flags:
            self.config.set_flag(flag)

    def engine(self) -> trt.ICudaEngine:
        made = self.builder.build_engine_with_config(self.network, self.config)
        assert made is not None, self.logger.messages[-1][1]
        return made

    def refusal(self) -> str:
        assert self.builder.build_serialized_network(self.network, self.config) is None
        severity, message = self.logger.messages[-1]
        assert severity == trt.Logger.ERROR
        return message


@pytest.fixture
def build(logger) -> _Build:
    return _Build(logger)


def _wanted(x: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    f = torch.from_numpy(FILTERS).double()
    hidden = torch.nn.functional.conv2d(torch.from_numpy(x).double(), f, padding=1).relu()
    pooled = torch.nn.functional.conv2d(hidden, f, padding=1).mean((2, 3))
    return (pooled @ torch.from_numpy(HEAD).double()).numpy()


def _run(engine: trt.ICudaEngine, dtype=np.float32) -> np.ndarray:
    context = engine.create_execution_context()
    x, y = BATCHES[0].copy(), np.empty((2, 16), dtype)
    assert context.execute_v2([x.ctypes.data, y.ctypes.data])
    return y.astype(np.float64)


def _precisions(engine: trt.ICudaEngine) -> dict[str, str]:
    decided = report.decode(engine._engine.report).precisions
    return {name: made.precision for made in decided for name in made.origin}


def _warnings(logger) -> str:
    return "\n".join(text for severity, text in logger.messages if severity == trt.Logger.WARNING)


@pytest.mark.parametrize(("flag", "allowed"), [(trt.BuilderFlag.BF16, 0.01), (trt.BuilderFlag.FP16, 0.002)])
def test_half_precisions_give_nearly_the_same(build, flag, allowed: float) -> None:
    build.allow(flag)
    wanted = _wanted(BATCHES[0])
    assert np.abs(_run(build.engine()) - wanted).max() <= allowed * np.abs(wanted).max()


def test_int8_runs_from_a_calibrator(build, logger) -> None:
    build.allow(trt.BuilderFlag.INT8)
    build.config.int8_calibrator = Calibrator()
    engine = build.engine()
    wanted = _wanted(BATCHES[0])
    assert _precisions(engine)["conv"] == _precisions(engine)["conv2"] == "int8"
    assert np.abs(_run(engine) - wanted).max() <= 0.06 * np.abs(wanted).max()
    assert any("in int8" in text for _, text in logger.messages)


def test_int8_runs_from_ranges_by_hand_where_there_are_any(build) -> None:
    build.allow(trt.BuilderFlag.INT8)
    build.network.get_input(0).set_dynamic_range(-4, 4)
    found = _precisions(build.engine())
    assert found["conv"] == "int8" and found["conv2"] == "fp32"


def test_int8_without_ranges_warns(build, logger) -> None:
    build.allow(trt.BuilderFlag.INT8)
    assert set(_precisions(build.engine()).values()) == {"fp32"}
    assert "no calibrator, no dynamic range" in _warnings(logger)


def test_a_layer_keeps_fp32_when_told(build) -> None:
    build.allow(trt.BuilderFlag.INT8, trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    build.config.int8_calibrator = Calibrator()
    build.layer("conv").precision = trt.float32
    found = _precisions(build.engine())
    assert found["conv"] == "fp32" and found["conv2"] == "int8"


def test_a_layer_takes_the_precision_it_is_told(build) -> None:
    build.allow(trt.BuilderFlag.BF16, trt.BuilderFlag.STRICT_TYPES)
    build.layer("fc").precision = trt.bfloat16
    assert _precisions(build.engine())["fc"] == "bf16"


def test_wishes_weigh_nothing_without_a_constraint_flag(build) -> None:
    build.allow(trt.BuilderFlag.INT8)
    build.config.int8_calibrator = Calibrator()
    build.layer("conv").precision = trt.float32
    assert _precisions(build.engine())["conv"] == "int8"


def test_obeying_refuses_what_cannot_be(build) -> None:
    build.allow(trt.BuilderFlag.FP16, trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    build.layer("pool").precision = trt.float16
    build.layer("fc").precision = trt.bfloat16
    message = build.refusal()
    assert "layer 'pool' (POOLING) computes in the model's own type" in message
    assert "layer 'fc': bf16 is not allowed; set BuilderFlag.BF16" in message


def test_obeying_refuses_int8_without_a_range(build) -> None:
    build.allow(trt.BuilderFlag.INT8, trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    build.network.get_input(0).set_dynamic_range(-4, 4)
    build.layer("conv2").precision = trt.int8
    message = build.refusal()
    assert "int8 at 'conv2'" in message and "tensor 'r' has no calibrated range" in message


def test_preferring_warns_instead(build, logger) -> None:
    build.allow(trt.BuilderFlag.INT8, trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    build.network.get_input(0).set_dynamic_range(-4, 4)
    build.layer("conv2").precision = trt.int8
    build.layer("relu").precision = trt.int8
    build.engine()
    assert "layer 'conv2' computes in fp32, not int8: " in _warnings(logger)
    assert "layer 'relu' (ACTIVATION)" in _warnings(logger)


def test_a_strongly_typed_network_refuses_flags_and_wishes(logger) -> None:
    build = _Build(logger, 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    build.allow(trt.BuilderFlag.FP16)
    build.layer("conv").precision = trt.float16
    message = build.refusal()
    assert "BuilderFlag.FP16, the precision of layer 'conv' cannot be set" in message
    build.config.clear_flag(trt.BuilderFlag.FP16)
    build.layer("conv").reset_precision()
    assert set(_precisions(build.engine()).values()) == {"fp32"}


def test_flags_that_the_cpu_lacks_warn(build, logger) -> None:
    build.allow(trt.BuilderFlag.FP8)
    build.engine()
    assert "BuilderFlag.FP8 has no effect" in _warnings(logger)


def test_an_output_may_have_another_type(build) -> None:
    build.layer("fc").set_output_type(0, trt.float16)
    assert build.network.get_output(0).dtype == trt.float16
    engine = build.engine()
    assert engine.get_tensor_dtype("y") == trt.float16
    wanted = _wanted(BATCHES[0])
    assert np.abs(_run(engine, np.float16) - wanted).max() <= 2e-3 * np.abs(wanted).max()


def test_the_inspector_tells_each_layers_precision(build) -> None:
    build.allow(trt.BuilderFlag.INT8)
    build.config.int8_calibrator = Calibrator()
    inspector = build.engine().create_engine_inspector()
    layers = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))["Layers"]
    assert {"int8"} <= {layer["Precision"] for layer in layers}
    first = next(layer for layer in layers if "conv" in layer["Name"])
    assert first["Precision"] == "int8" and "int8" in inspector.get_engine_information(
        trt.LayerInformationFormat.ONELINE
    )


def test_an_input_may_be_given_in_half(build) -> None:
    build.network.get_input(0).dtype = trt.float16
    assert build.network.get_input(0).dtype == trt.float16
    engine = build.engine()
    assert engine.get_tensor_dtype("x") == trt.float16
    x, y = BATCHES[0].astype(np.float16), np.empty((2, 16), np.float32)
    assert engine.create_execution_context().execute_v2([x.ctypes.data, y.ctypes.data])
    np.testing.assert_allclose(y, _wanted(x.astype(np.float32)), atol=1e-5)


def test_types_inside_of_the_network_are_not_set(build) -> None:
    from engineworks.errors import InvalidModel

    with pytest.raises(InvalidModel, match="set the precision of its layer"):
        build.layer("conv").get_output(0).dtype = trt.float16
    with pytest.raises(InvalidModel, match="callers cannot give INT32"):
        build.network.get_input(0).dtype = trt.int32
