"""The classes of the face, one behaviour at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper

import engineworks.tensorrt as trt
from engineworks.errors import Unsupported
from tests.unit.tensorrt.models import expected, make_model

PROFILES = ({"x": ((1, 8), (2, 8), (4, 8))}, {"x": ((4, 8), (8, 8), (16, 8))})


def _run(context: trt.IExecutionContext, x: np.ndarray) -> np.ndarray:
    assert context.set_input_shape("x", x.shape)
    y = np.empty(context.get_tensor_shape("y"), np.float32)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    assert context.execute_async_v3(0)
    return y


def test_profiles_have_their_own_ranges(engine_of) -> None:
    engine = engine_of(make_model("N"), *PROFILES)
    assert engine.num_optimization_profiles == 2
    assert engine.get_tensor_profile_shape("x", 1) == [(4, 8), (8, 8), (16, 8)]
    context = engine.create_execution_context()
    assert not context.set_input_shape("x", (9, 8))
    assert context.set_optimization_profile_async(1, 0)
    x = np.ones((9, 8), np.float32)
    np.testing.assert_allclose(_run(context, x), expected(x), rtol=1e-5)
    assert not context.set_optimization_profile_async(2, 0)


def test_shapes_are_unknown_until_set(engine_of) -> None:
    engine = engine_of(make_model("N"), PROFILES[0])
    context = engine.create_execution_context()
    assert engine.get_tensor_shape("y") == (-1, 4)
    assert context.infer_shapes() == ["x"]
    assert context.get_tensor_shape("y") == (-1, 4)
    context.set_binding_shape(0, (3, 8))
    assert context.all_binding_shapes_specified
    assert context.get_binding_shape(1) == (3, 4)
    assert context.get_tensor_strides("y") == (4, 1)


def test_a_missing_address_is_named(engine_of) -> None:
    from engineworks.errors import RunError

    context = engine_of(make_model(2)).create_execution_context()
    with pytest.raises(RunError, match="'x' has no address"):
        context.execute_async_v3(0)


def test_an_engine_serializes_to_itself(engine_of, logger) -> None:
    engine = engine_of(make_model(2))
    plan = engine.serialize()
    assert plan.nbytes == len(memoryview(plan))
    assert trt.Runtime(logger).deserialize_cuda_engine(plan).serialize() == plan


def test_a_damaged_plan_gives_none_and_a_message(engine_of, logger) -> None:
    plan = bytearray(engine_of(make_model(2)).serialize())
    plan[100] ^= 1
    assert trt.Runtime(logger).deserialize_cuda_engine(plan) is None
    assert logger.messages[-1][0] is trt.Logger.ERROR


def test_a_model_that_is_none_gives_an_error_object(logger) -> None:
    network = trt.Builder(logger).create_network(1)
    parser = trt.OnnxParser(network, logger)
    assert not parser.parse(b"nonsense" * 10)
    assert parser.num_errors == 1
    assert "not an ONNX model" in parser.get_error(0).desc()
    parser.clear_errors()
    assert parser.num_errors == 0


def test_an_unknown_operator_has_its_code(logger) -> None:
    graph = helper.make_graph(
        [helper.make_node("Nothing", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    parser = trt.OnnxParser(trt.Builder(logger).create_network(1), logger)
    assert not parser.parse(model.SerializeToString())
    assert parser.get_error(0).code() is trt.ErrorCode.UNSUPPORTED_NODE
    assert parser.supports_operator("Relu")
    assert not parser.supports_operator("Nothing")


def test_a_build_that_fails_gives_none_and_a_message(logger) -> None:
    builder = trt.Builder(logger)
    assert (
        builder.build_serialized_network(builder.create_network(1), builder.create_builder_config()) is None
    )
    assert "network is empty" in logger.messages[-1][1]


def test_inputs_and_outputs_can_be_renamed_fixed_and_chosen(logger) -> None:
    builder = trt.Builder(logger)
    network = builder.create_network(1)
    trt.OnnxParser(network, logger).parse(make_model("N"))
    assert network.get_input(0).shape == (-1, 8)
    assert network.get_output(0).dtype == trt.float32
    network.get_input(0).shape = (3, 8)
    network.get_input(0).name = "given"
    network.mark_output(network.get_layer(0).get_output(0))
    assert [network.get_output(k).shape for k in range(network.num_outputs)] == [(3, 4), (3, 4)]
    config = builder.create_builder_config()
    config.builder_optimization_level = 0
    engine = builder.build_engine(network, config)
    assert list(engine) == ["given", "y", "h"]
    assert engine.get_tensor_shape("given") == (3, 8)


def test_a_timing_cache_is_filled_and_merged(logger) -> None:
    builder = trt.Builder(logger)
    network = builder.create_network(1)
    trt.OnnxParser(network, logger).parse(make_model(2))
    config = builder.create_builder_config()
    config.builder_optimization_level = 1
    config.set_timing_cache(config.create_timing_cache(b""), False)
    assert builder.build_serialized_network(network, config) is not None
    data = bytes(config.get_timing_cache().serialize())
    assert data
    assert config.get_timing_cache().combine(config.create_timing_cache(data), False)
    assert bytes(config.get_timing_cache().serialize()) == data


def test_a_progress_monitor_can_stop_a_build(logger) -> None:
    class Stop(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        def phase_start(self, phase_name, parent_phase, num_steps) -> None:
            self.calls.append("start")

        def step_complete(self, phase_name, step) -> bool:
            self.calls.append("step")
            return False

        def phase_finish(self, phase_name) -> None:
            self.calls.append("finish")

    builder = trt.Builder(logger)
    network = builder.create_network(1)
    trt.OnnxParser(network, logger).parse(make_model(2))
    config = builder.create_builder_config()
    config.progress_monitor = Stop()
    config.builder_optimization_level = 0
    assert builder.build_serialized_network(network, config) is None
    assert config.progress_monitor.calls == ["start", "step", "finish"]


def test_outputs_of_unknown_size_go_through_an_allocator(engine_of) -> None:
    class Allocator(trt.IOutputAllocator):
        def __init__(self) -> None:
            super().__init__()
            self.shape: tuple[int, ...] = ()

        def reallocate_output(self, tensor_name, memory, size, alignment) -> int:
            self.memory = np.zeros(size, np.uint8)
            return self.memory.ctypes.data

        def notify_shape(self, tensor_name, shape) -> None:
            self.shape = tuple(shape)

    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    context = engine_of(model.SerializeToString()).create_execution_context()
    x = np.array([0, 1, 0, 2, 0, 3], np.float32)
    allocator = Allocator()
    context.set_tensor_address("x", x.ctypes.data)
    context.set_output_allocator("y", allocator)
    assert context.get_max_output_size("y") >= 3 * 8
    assert context.execute_async_v3(0)
    assert allocator.shape == (1, 3)
    assert allocator.memory.view(np.int64)[:3].tolist() == [1, 3, 5]


def test_the_inspector_and_the_profiler_tell_launches(engine_of) -> None:
    engine = engine_of(make_model(2))
    told = json.loads(
        engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    )
    assert told["Bindings"] == ["x", "y"]
    assert len(told["Layers"]) == engine.num_layers
    context = engine.create_execution_context()
    context.profiler = trt.Profiler()
    _run(context, np.ones((2, 8), np.float32))
    assert len(context.profiler.times) >= 1


@pytest.mark.parametrize("name", ["Refitter", "IAlgorithmSelector", "IPluginV2", "get_plugin_registry"])
def test_what_is_absent_says_what_to_do(name: str) -> None:
    with pytest.raises(Unsupported, match="instead: "):
        getattr(trt, name)


def test_absent_attributes_answer_hasattr(logger) -> None:
    network = trt.Builder(logger).create_network(1)
    assert not hasattr(network, "add_convolution_nd")
    with pytest.raises(Unsupported, match="GraphBuilder"):
        network.add_convolution_nd(None)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        network.nonsense  # noqa: B018


def test_a_name_tensorrt_does_not_have_either() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        trt.nonsense  # noqa: B018


def test_dims_compare_with_tuples_and_lists() -> None:
    assert trt.Dims([1, 2]) == (1, 2) == trt.Dims((1, 2))
    assert trt.Dims([1, 2]) == [1, 2]
    assert trt.volume(trt.Dims([2, 3, 4])) == 24
    assert tuple(trt.Dims([2, 3]))[1] == 3


def test_types_have_numpy_twins() -> None:
    assert trt.nptype(trt.float16) is np.float16
    assert np.dtype(trt.nptype(trt.bfloat16)).itemsize == 2
    with pytest.raises(TypeError):
        trt.nptype(trt.DataType.FP4)


def test_the_logger_keeps_to_its_severity(capsys: pytest.CaptureFixture[str]) -> None:
    trt.Logger(trt.Logger.WARNING).log(trt.Logger.INFO, "quiet")
    trt.Logger(trt.Logger.WARNING).log(trt.Logger.ERROR, "loud")
    told = capsys.readouterr().err
    assert "[E] loud" in told
    assert "quiet" not in told
