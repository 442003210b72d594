"""A program written for TensorRT: only the import line is another one."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

import engineworks.tensorrt as trt

graph = helper.make_graph(
    [helper.make_node("Tanh", ["x"], ["y"])],
    "tanh",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

logger = trt.Logger(trt.Logger.WARNING)
builder = trt.Builder(logger)
network = builder.create_network(0)
parser = trt.OnnxParser(network, logger)
assert parser.parse(model.SerializeToString())
plan = builder.build_serialized_network(network, builder.create_builder_config())

engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
context = engine.create_execution_context()
x, y = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), np.empty((2, 3), np.float32)
assert context.execute_v2([x.ctypes.data, y.ctypes.data])
assert np.allclose(y, np.tanh(x), atol=1e-6)
print(y)
