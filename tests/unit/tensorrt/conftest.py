"""ONNX models and engines for the TensorRT-shaped face."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import engineworks.tensorrt as trt

WEIGHT = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)


def make_model(batch: int | str) -> bytes:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="fc"), helper.make_node("Relu", ["h"], ["y"], name="act")]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def expected(x: np.ndarray) -> np.ndarray:
    return np.maximum(x @ WEIGHT, 0)


class Recorder(trt.ILogger):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[trt.ILogger.Severity, str]] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        self.messages.append((severity, msg))


@pytest.fixture
def logger() -> Recorder:
    return Recorder()


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(make_model(2))
    return tmp_path


@pytest.fixture
def engine_of(logger: Recorder) -> Callable[..., trt.ICudaEngine]:
    def build(model: bytes, *profiles: dict[str, tuple]) -> trt.ICudaEngine:
        builder = trt.Builder(logger)
        network = builder.create_network(1)
        assert trt.OnnxParser(network, logger).parse(model), logger.messages
        config = builder.create_builder_config()
        config.builder_optimization_level = 0
        for shapes in profiles:
            profile = builder.create_optimization_profile()
            for name, (low, typical, high) in shapes.items():
                profile.set_shape(name, low, typical, high)
            config.add_optimization_profile(profile)
        engine = builder.build_engine(network, config)
        assert engine is not None, logger.messages
        return engine

    return build


