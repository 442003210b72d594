"""Whole networks on the emulated GPU: its kernels, records, graphs and memory plan, against the CPU's engines."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import engineworks
from engineworks.runtime.engine import Engine
from engineworks.testing.emulated_gpu import build_and_run, build_emulated, emulated_device

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
RANDOM = np.random.default_rng(4)
node = helper.make_node


def info(name: str, shape, kind: int = FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, **constants) -> bytes:
    named = [numpy_helper.from_array(a, n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, named)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def assert_same_as_on_the_cpu(content: bytes, **inputs: np.ndarray) -> None:
    wanted = engineworks.build(content, effort=0, timing_cache=False).run(**inputs)
    found = build_and_run(content, inputs, tf32=False)
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_a_convolutional_network():
    content = model(
        [
            node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["c"]),
            node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["d"], ["e"]),
            node("Flatten", ["e"], ["f"]),
            node("Gemm", ["f", "v"], ["y"]),
        ],
        [info("x", [1, 3, 10, 10])],
        [info("y", [1, 5])],
        w=normal(8, 3, 3, 3),
        b=normal(8),
        v=normal(8, 5),
    )
    assert_same_as_on_the_cpu(content, x=normal(1, 3, 10, 10))


@pytest.mark.parametrize("sign", [1, -1])
def test_branches(sign):
    then = helper.make_graph([node("Add", ["x", "x"], ["p"])], "then", [], [info("p", [4])])
    otherwise = helper.make_graph([node("Exp", ["x"], ["q"])], "otherwise", [], [info("q", [4])])
    content = model(
        [
            node("ReduceSum", ["x"], ["s"], keepdims=0),
            node("Greater", ["s", "zero"], ["c"]),
            node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise),
        ],
        [info("x", [4])],
        [info("y", [4])],
        zero=np.float32(0),
    )
    assert_same_as_on_the_cpu(content, x=sign * np.arange(1, 5, dtype=np.float32))


def test_a_loop_that_collects_as_many_rounds_as_its_data_ask_for():
    body = helper.make_graph(
        [
            node("Add", ["carried", "x"], ["next"]),
            node("ReduceMax", ["next"], ["largest"], keepdims=0),
            node("Less", ["largest", "limit"], ["goes_on"]),
            node("Mul", ["next", "next"], ["square"]),
        ],
        "body",
        [info("round", [], INT64), info("condition", [], BOOL), info("carried", [3])],
        [info("goes_on", [], BOOL), info("next", [3]), info("square", [3])],
    )
    content = model(
        [node("Loop", ["rounds", "", "x"], ["y", "squares"], body=body)],
        [info("x", [3])],
        [info("y", [3]), info("squares", ["k", 3])],
        rounds=np.int64(9),
        limit=np.float32(10),
    )
    assert_same_as_on_the_cpu(content, x=np.arange(1, 4, dtype=np.float32))


def test_sizes_that_depend_on_data():
    content = model(
        [
            node("NonZero", ["x"], ["i"]),
            node("Transpose", ["i"], ["t"]),
            node("GatherND", ["x", "t"], ["v"]),
            node("Softmax", ["v"], ["y"], axis=0),
        ],
        [info("x", [5, 7])],
        [info("y", ["n"])],
    )
    assert_same_as_on_the_cpu(content, x=normal(5, 7) * (RANDOM.random((5, 7)) > 0.5).astype(np.float32))


def test_one_engine_serves_all_shapes_of_its_profile():
    content = model(
        [node("MatMul", ["x", "w"], ["a"]), node("Softmax", ["a"], ["y"])],
        [info("x", ["B", 16])],
        [info("y", ["B", 8])],
        w=normal(16, 8),
    )
    ranges = {"x": ((1, 16), (4, 16), (64, 16))}
    device = emulated_device()
    engine = Engine.open(build_emulated(content, profile=ranges, tf32=False), device=device)
    wanted = engineworks.build(content, effort=0, timing_cache=False, profile=ranges)
    context = engine.context()
    for rows in (1, 33, 1):
        x = normal(rows, 16)
        np.testing.assert_allclose(context.run(x=x)["y"], wanted.run(x=x)["y"], rtol=1e-4, atol=1e-6)
    assert len([n for what, n in device.driver.log if what == "capture"]) == 2
