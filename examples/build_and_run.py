"""Builds an engine from an ONNX model made here, saves it, loads it, and compares with numpy."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import engineworks as ew

random = np.random.default_rng(0)
weight = random.normal(size=(64, 10)).astype(np.float32)
graph = helper.make_graph(
    [
        helper.make_node("MatMul", ["x", "weight"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=-1),
    ],
    "classifier",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
    [numpy_helper.from_array(weight, "weight")],
)
onnx.save(
    helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), "classifier.onnx"
)

ew.build("classifier.onnx", profile={"x": ((1, 64), (16, 64), (64, 64))}, effort=1).save("classifier.engine")

engine = ew.load("classifier.engine")
x = random.normal(size=(5, 64)).astype(np.float32)
y = engine(x=x)["y"]
scores = np.exp(x.astype(np.float64) @ weight)
assert np.allclose(y, scores / scores.sum(axis=1, keepdims=True), atol=1e-5)
print(f"{engine.name}: {y.shape[0]} rows, the first: {y[0].round(3)}")
