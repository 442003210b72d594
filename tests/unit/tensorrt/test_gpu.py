"""Engines for GPUs behind TensorRT's names, on the emulated GPU: its device memory is the host's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from onnx import TensorProto, helper

import engineworks.tensorrt as trt
from engineworks.errors import EngineMismatch, RunError
from engineworks.kernels.backend import find as find_backend
from engineworks.runtime.device import find as find_device
from engineworks.tensorrt.addresses import HostReader, reader_for
from engineworks.tensorrt.batches import batches
from engineworks.tensorrt.hardware import hardware_options
from engineworks.testing.emulated_gpu import emulated_backend, emulated_device
from tests.unit.tensorrt.models import expected, make_model

NONE = trt.HardwareCompatibilityLevel.NONE
STREAM = 0x77
"""A handle as programs have one; the emulated GPU takes any."""


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """What the emulated GPU, which is this machine's for a while, is made to do."""
    device = emulated_device()
    monkeypatch.setattr(
        "engineworks.builder.build.find",
        lambda name: emulated_backend() if name == "cuda" else find_backend(name),
    )
    for place in ("engineworks.builder.build.find_device", "engineworks.runtime.device.find"):
        monkeypatch.setattr(
            place, lambda name, index=None: device if name == "cuda" else find_device(name, index)
        )
    return device.driver.log


@pytest.fixture
def build(logger: trt.ILogger, log: list[tuple[str, int]]) -> Callable[..., trt.ICudaEngine]:
    def made(model: bytes, level: trt.HardwareCompatibilityLevel = NONE, **shapes: tuple) -> trt.ICudaEngine:
        builder = trt.Builder(logger, target="cuda")
        network = builder.create_network(1)
        assert trt.OnnxParser(network, logger).parse(model)
        config = builder.create_builder_config()
        config.builder_optimization_level = 0
        config.hardware_compatibility_level = level
        config.clear_flag(trt.BuilderFlag.TF32)
        config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
        if shapes:
            profile = builder.create_optimization_profile()
            for name, given in shapes.items():
                profile.set_shape(name, *given)
            config.add_optimization_profile(profile)
        engine = builder.build_engine(network, config)
        assert engine is not None, logger.messages
        return engine

    return made


def call(context: trt.IExecutionContext, x: np.ndarray, y: np.ndarray) -> None:
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    assert context.execute_async_v3(STREAM)


def test_device_addresses_go_in_and_nothing_waits(build, log) -> None:
    engine = build(make_model("N"), x=((1, 8), (2, 8), (4, 8)))
    assert engine.get_tensor_location("x") is trt.TensorLocation.DEVICE
    assert engine.get_location(1) is trt.TensorLocation.DEVICE
    context = engine.create_execution_context()
    log.clear()
    for rows in (2, 4, 2):
        x = np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float32)
        y = np.empty((rows, 4), np.float32)
        call(context, x, y)
        np.testing.assert_allclose(y, expected(x), rtol=1e-4, atol=1e-5)
    assert {"synchronize", "upload", "download", "copy"}.isdisjoint(what for what, _ in log)


def test_the_same_addresses_again_are_one_graph_and_nothing_else(build, log) -> None:
    context = build(make_model(2)).create_execution_context()
    x, y = np.ones((2, 8), np.float32), np.empty((2, 4), np.float32)
    for _ in range(3):
        call(context, x, y)
    log.clear()
    x *= 2
    call(context, x, y)
    np.testing.assert_allclose(y, expected(x), rtol=1e-4)
    assert {what for what, _ in log} <= {"replay", "launch"}


def test_bindings_are_waited_for_by_the_call_that_has_no_stream(build, log) -> None:
    context = build(make_model(2)).create_execution_context()
    x, y = np.ones((2, 8), np.float32), np.empty((2, 4), np.float32)
    log.clear()
    assert context.execute_async_v2([x.ctypes.data, y.ctypes.data], STREAM)
    assert ("synchronize", STREAM) not in log
    assert context.execute_v2([x.ctypes.data, y.ctypes.data])
    assert log[-1] == ("synchronize", 0)
    np.testing.assert_allclose(y, expected(x), rtol=1e-4)


def test_sizes_from_data_go_through_an_allocator_of_the_stream(build) -> None:
    class Allocator(trt.IOutputAllocator):
        def __init__(self) -> None:
            super().__init__()
            self.stream, self.shape = -1, ()

        def reallocate_output_async(self, tensor_name, memory, size, alignment, stream) -> int:
            self.memory, self.stream = np.zeros(size, np.uint8), stream
            return self.memory.ctypes.data

        def notify_shape(self, tensor_name, shape) -> None:
            self.shape = tuple(shape)

    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, None])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    context = build(model.SerializeToString()).create_execution_context()
    x, allocator = np.array([0, 1, 0, 2, 0, 3], np.float32), Allocator()
    context.set_tensor_address("x", x.ctypes.data)
    context.set_output_allocator("y", allocator)
    assert context.execute_async_v3(STREAM)
    assert (allocator.shape, allocator.stream) == ((1, 3), STREAM)
    assert allocator.memory.view(np.int64)[:3].tolist() == [1, 3, 5]


def test_a_missing_address_is_one_of_a_tensor_on_the_gpu(build) -> None:
    context = build(make_model(2)).create_execution_context()
    with pytest.raises(RunError, match=r"set_tensor_address\('x', tensor.data_ptr\(\)\)"):
        context.execute_async_v3(STREAM)


def test_batches_of_calibrators_are_read_from_the_gpu(log) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)

    class Given(trt.IInt8EntropyCalibrator2):
        left = iter([[x.ctypes.data], None])

        def get_batch(self, names):
            return next(self.left)

    log.clear()
    (batch,) = batches(Given(), {"x": (x.dtype, x.shape)}, reader_for("cuda"))
    np.testing.assert_array_equal(batch["x"], x)
    assert log == [("download", x.nbytes), ("synchronize", 0)]


def test_without_a_gpu_addresses_are_the_hosts(monkeypatch) -> None:
    def none_here(name: str) -> None:
        raise EngineMismatch("this machine has no GPU")

    monkeypatch.setattr("engineworks.runtime.device.find", none_here)
    assert isinstance(reader_for("cuda:sm_90"), HostReader)
    assert isinstance(reader_for("cpu"), HostReader)


# -- what a build is for
def options(logger: trt.ILogger, target: str, **attributes: object) -> dict[str, object]:
    config = trt.Builder(logger, target=target).create_builder_config()
    for name, value in attributes.items():
        setattr(config, name, value)
    return hardware_options(config, logger)


def test_engines_are_for_the_cpu_where_nothing_says_otherwise(logger) -> None:
    config = trt.Builder(logger).create_builder_config()
    assert hardware_options(config, logger) == {"target": "cpu", "tf32": True}
    config.target = "cuda:sm_90"
    config.clear()
    assert hardware_options(config, logger)["target"] == "cuda:sm_90"


def test_tf32_is_a_flag_that_is_set(logger) -> None:
    config = trt.Builder(logger, target="cuda").create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32)
    config.clear_flag(trt.BuilderFlag.TF32)
    assert hardware_options(config, logger)["tf32"] is False


@pytest.mark.parametrize(
    ("sources", "named"),
    [
        ((), ("triton",)),
        ((trt.TacticSource.CUDNN,), ("triton", "cudnn")),
        ((trt.TacticSource.CUBLAS, trt.TacticSource.CUBLAS_LT), ("triton", "cublaslt")),
        (tuple(trt.TacticSource), ("triton", "cublaslt", "cudnn")),
    ],
)
def test_tactic_sources_are_libraries(logger, sources, named) -> None:
    config = trt.Builder(logger, target="cuda").create_builder_config()
    assert hardware_options(config, logger)["tactic_sources"] == ("triton", "cublaslt", "cudnn")
    config.set_tactic_sources(sum(1 << int(s) for s in sources))
    assert hardware_options(config, logger)["tactic_sources"] == named


def test_levels_of_compatibility_are_those_of_a_build(logger) -> None:
    level = trt.HardwareCompatibilityLevel
    same = options(logger, "cuda", hardware_compatibility_level=level.SAME_COMPUTE_CAPABILITY)
    assert same["hardware_compatibility"] == "same_compute_capability"
    assert "hardware_compatibility" not in options(logger, "cuda", hardware_compatibility_level=level.NONE)
    assert logger.messages == []
    wide = options(logger, "cuda:sm_90", hardware_compatibility_level=level.AMPERE_PLUS)
    assert (wide["target"], wide["hardware_compatibility"]) == ("cuda:sm_80", "ampere_plus")
    assert "kernels are for cuda:sm_80, not for cuda:sm_90" in logger.messages[-1][1]


def test_an_engine_tells_its_level(build) -> None:
    assert build(make_model(2)).hardware_compatibility_level is NONE
    same = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert build(make_model(2), same).hardware_compatibility_level is same
