"""Sequences that a model makes and takes apart agree with ONNX Runtime; those that leave it are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import engineworks
from engineworks.errors import UnsupportedOperator

onnxruntime = pytest.importorskip("onnxruntime")

node = helper.make_node
X = np.arange(42, dtype=np.float32).reshape(7, 6)
CONSTANTS = {
    "one": np.array(1), "minus": np.array(-1), "two": np.array(2), "sizes": np.array([3, 1, 3]), "zero": np.array(0),
}  # fmt: skip


def _model(nodes: list[onnx.NodeProto]) -> bytes:
    graph = helper.make_graph(
        nodes, "sequences",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [7, 6])],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        initializer=[numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()],
    )  # fmt: skip
    graph.output[0].type.Clear()
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


CASES = {
    "parts of a size": [
        node("SplitToSequence", ["x", "two"], ["s"]), node("SequenceAt", ["s", "minus"], ["y"]),
    ],
    "parts of sizes": [
        node("SplitToSequence", ["x", "sizes"], ["s"]), node("SequenceErase", ["s", "one"], ["t"]),
        node("ConcatFromSequence", ["t"], ["y"], axis=0),
    ],
    "slices stacked": [
        node("SplitToSequence", ["x"], ["s"], axis=1, keepdims=0), node("SequenceErase", ["s"], ["t"]),
        node("ConcatFromSequence", ["t"], ["y"], axis=-1, new_axis=1),
    ],
    "made and grown": [
        node("Neg", ["x"], ["n"]), node("SequenceConstruct", ["x", "n"], ["s"]), node("Abs", ["n"], ["a"]),
        node("SequenceInsert", ["s", "a", "one"], ["t"]), node("ConcatFromSequence", ["t"], ["y"], axis=1),
    ],
    "counted": [node("SplitToSequence", ["x", "two"], ["s"]), node("SequenceLength", ["s"], ["y"])],
}  # fmt: skip


@pytest.mark.parametrize("nodes", CASES.values(), ids=CASES.keys())
def test_sequences_are_taken_apart(nodes: list[onnx.NodeProto]) -> None:
    model = _model(nodes)
    (expected,) = onnxruntime.InferenceSession(model).run(None, {"x": X})
    result = engineworks.build(model, effort=0, timing_cache=False)(x=X)["y"]
    np.testing.assert_array_equal(result, expected)


def test_a_body_reads_a_sequence_around_it() -> None:
    then = helper.make_graph(
        [node("SequenceAt", ["s", "zero"], ["t"])], "then", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, [2, 6])]
    )  # fmt: skip
    otherwise = helper.make_graph(
        [node("SequenceAt", ["s", "one"], ["e"])], "else", [], [helper.make_tensor_value_info("e", TensorProto.FLOAT, [2, 6])]
    )  # fmt: skip
    nodes = [
        node("SplitToSequence", ["x", "two"], ["s"]), node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["which"], to=TensorProto.BOOL),
        node("If", ["which"], ["y"], then_branch=then, else_branch=otherwise),
    ]  # fmt: skip
    engine = engineworks.build(_model(nodes), effort=0, timing_cache=False)
    np.testing.assert_array_equal(engine(x=X)["y"], X[:2])
    np.testing.assert_array_equal(engine(x=X * 0)["y"], X[2:4] * 0)


def test_a_sequence_that_leaves_the_model_is_refused() -> None:
    with pytest.raises(UnsupportedOperator, match="'y', a sequence of 4 tensors"):
        engineworks.build(
            _model([node("SplitToSequence", ["x", "two"], ["y"])]), effort=0, timing_cache=False
        )


def test_an_operator_that_takes_tensors_is_refused() -> None:
    nodes = [node("SplitToSequence", ["x", "two"], ["s"]), node("Identity", ["s"], ["y"])]
    with pytest.raises(UnsupportedOperator, match="reads a sequence; ConcatFromSequence"):
        engineworks.build(_model(nodes), effort=0, timing_cache=False)
