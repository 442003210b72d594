"""Programs as people write them for TensorRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.tensorrt.models import expected, make_model


def test_the_two_programs_of_the_product_page(model_file: Path) -> None:
    import engineworks.tensorrt as trt  # the TensorRT workflow, unchanged

    logger = trt.Logger(trt.Logger.INFO)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    with open("model.onnx", "rb") as model:
        parser.parse(model.read())
    config = builder.create_builder_config()
    engine = builder.build_engine(network, config)
    with open("model.engine", "wb") as f:
        f.write(engine.serialize())

    with open("model.engine", "rb") as f, trt.Runtime(trt.Logger(trt.Logger.INFO)) as runtime:
        engine = runtime.deserialize_cuda_engine(f.read())
    context = engine.create_execution_context()

    x = np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)
    y = np.empty((2, 4), np.float32)
    assert context.execute_v2([x.ctypes.data, y.ctypes.data])
    np.testing.assert_allclose(y, expected(x), rtol=1e-5, atol=1e-6)


def test_a_program_with_names(model_file: Path) -> None:
    import engineworks.tensorrt as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    (model_file / "model.onnx").write_bytes(make_model("N"))
    if not parser.parse_from_file("model.onnx"):
        for k in range(parser.num_errors):
            print(parser.get_error(k))
        pytest.fail("the parser refused the model")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    if builder.platform_has_fast_fp16:
        config.set_flag(trt.BuilderFlag.FP16)
    config.builder_optimization_level = 0
    cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 8), (4, 8), (16, 8))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()

    x = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)
    buffers = {}
    for k in range(engine.num_io_tensors):
        name = engine.get_tensor_name(k)
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            context.set_input_shape(name, x.shape)
            buffers[name] = x
        else:
            shape = context.get_tensor_shape(name)
            buffers[name] = np.empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
        context.set_tensor_address(name, buffers[name].ctypes.data)
    assert context.execute_async_v3(stream_handle=0)
    np.testing.assert_allclose(buffers["y"], expected(x), rtol=2e-3, atol=2e-3)  # weights are rounded to half


def test_a_program_from_before_named_tensors(model_file: Path) -> None:
    import engineworks.tensorrt as trt

    logger = trt.Logger()
    with (
        trt.Builder(logger) as builder,
        builder.create_network(1) as network,
        trt.OnnxParser(network, logger) as parser,
    ):
        builder.max_batch_size = 1
        with builder.create_builder_config() as config:
            config.max_workspace_size = 1 << 28
            config.builder_optimization_level = 0
            with open("model.onnx", "rb") as model:
                assert parser.parse(model.read())
            network.get_input(0).shape = [2, 8]
            engine = builder.build_engine(network, config)
    host = []
    for binding in engine:
        size = trt.volume(engine.get_binding_shape(binding)) * engine.max_batch_size
        host.append(np.zeros(size, trt.nptype(engine.get_binding_dtype(binding))))
    assert [engine.binding_is_input(k) for k in range(engine.num_bindings)] == [True, False]
    host[0][:] = np.arange(16)
    with engine.create_execution_context() as context:
        context.execute_async_v2(bindings=[h.ctypes.data for h in host], stream_handle=0)
    np.testing.assert_allclose(host[1].reshape(2, 4), expected(host[0].reshape(2, 8)), rtol=1e-5)
