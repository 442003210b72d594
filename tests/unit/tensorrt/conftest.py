"""ONNX models and engines for the TensorRT-shaped face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import engineworks.tensorrt as trt
from tests.unit.tensorrt.models import make_model


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
