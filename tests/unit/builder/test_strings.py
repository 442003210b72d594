"""Strings: computed at build where they are known, refused by node and reason where they are not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import engineworks
from engineworks.errors import UnsupportedOperator


def _model(
    nodes: list[onnx.NodeProto], inputs: dict[str, int], result: int, words: dict[str, list[bytes]]
) -> bytes:
    graph = helper.make_graph(
        nodes, "strings",
        [helper.make_tensor_value_info(name, dtype, [2]) for name, dtype in inputs.items()],
        [helper.make_tensor_value_info("y", result, [2])],
        initializer=[helper.make_tensor(name, TensorProto.STRING, [2], value) for name, value in words.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]).SerializeToString()


def test_strings_known_at_build_are_compared_there() -> None:
    nodes = [
        helper.make_node("Equal", ["a", "b"], ["same"]),
        helper.make_node("Where", ["same", "x", "z"], ["y"]),
    ]
    model = _model(
        nodes, {"x": TensorProto.FLOAT, "z": TensorProto.FLOAT}, TensorProto.FLOAT,
        {"a": [b"p", b"q"], "b": [b"p", b"r"]},
    )  # fmt: skip
    engine = engineworks.build(model, effort=0, timing_cache=False)
    result = engine(x=np.array([1, 2], np.float32), z=np.array([3, 4], np.float32))
    assert result["y"].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("node", "result"),
    [
        (helper.make_node("Equal", ["a", "b"], ["y"], name="compare"), TensorProto.BOOL),
        (helper.make_node("Identity", ["a"], ["y"], name="compare"), TensorProto.STRING),
    ],
    ids=["equal", "identity"],
)
def test_strings_that_come_as_inputs_are_refused(node: onnx.NodeProto, result: int) -> None:
    model = _model([node], {"a": TensorProto.STRING, "b": TensorProto.STRING}, result, {})
    with pytest.raises(UnsupportedOperator, match=r"'(compare|y)' works on strings.*no kernels"):
        engineworks.build(model, effort=0, timing_cache=False)
