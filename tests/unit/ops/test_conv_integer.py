"""Convolutions of 8-bit integers agree with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import engineworks

onnxruntime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(5)


def _bytes(node: onnx.NodeProto, constants: dict[str, np.ndarray], dtype: int) -> bytes:
    graph = helper.make_graph(
        [node], "quantised",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [2, 16, 9, 11])],
        [helper.make_tensor_value_info("y", dtype, None)],
        initializer=[numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()


def _both(model: bytes) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.integers(0, 256, (2, 16, 9, 11), dtype=np.uint8)
    (expected,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    return engineworks.build(model, effort=0, timing_cache=False)(x=x)["y"], expected


def test_conv_integer_is_exact() -> None:
    constants = {
        "w": RNG.integers(0, 256, (8, 16, 3, 3), dtype=np.uint8), "xz": np.array(117, np.uint8), "wz": np.array(131, np.uint8),
    }  # fmt: skip
    node = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], pads=[1, 1, 1, 1])
    result, expected = _both(_bytes(node, constants, TensorProto.INT32))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("group", [1, 4])
def test_qlinear_conv_takes_a_scale_for_each_filter(group: int) -> None:
    constants = {
        "xs": np.array(0.02, np.float32), "xz": np.array(117, np.uint8),
        "w": RNG.integers(-128, 128, (8, 16 // group, 3, 3), dtype=np.int8),
        "ws": RNG.uniform(0.001, 0.01, 8).astype(np.float32), "wz": np.zeros(8, np.int8),
        "ys": np.array(0.3, np.float32), "yz": np.array(126, np.uint8),
        "b": RNG.integers(-9999, 9999, 8, dtype=np.int32),
    }  # fmt: skip
    node = helper.make_node(
        "QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"],
        pads=[1, 1, 1, 1], strides=[2, 1], group=group,
    )  # fmt: skip
    result, expected = _both(_bytes(node, constants, TensorProto.UINT8))
    assert result.std() > 10
    apart = np.abs(result.astype(int) - expected.astype(int))
    assert apart.max() <= 1
    assert apart.mean() < 0.01
