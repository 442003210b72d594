"""Sizes and branches that the data decide, integers and positions: at every effort what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.robustness.conftest import model_of

RANDOM = np.random.default_rng(0)


def _body(name: str, nodes: list, output: str, weights: dict[str, np.ndarray] | None = None):
    made = [
        helper.make_node(op, ins.split(), outs.split(), **attributes) for op, ins, outs, attributes in nodes
    ]
    constants = [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()]
    return helper.make_graph(made, name, [], [helper.make_empty_tensor_value_info(output)], constants)


def _nested_if() -> bytes:
    inner = {
        "then_branch": _body("a", [("Mul", "x x", "p", {})], "p"),
        "else_branch": _body("b", [("MatMul", "x w", "q", {})], "q"),
    }
    outer = {
        "then_branch": _body("c", [("If", "large", "r", inner), ("Relu", "r", "s", {})], "s"),
        "else_branch": _body("d", [("Add", "x bias", "t", {})], "t", {"bias": np.float32([1, 2, 3, 4])}),
    }
    nodes = [("ReduceSum", "x", "sum", {"keepdims": 0}), ("Greater", "sum zero", "positive", {}),
             ("Greater", "sum five", "large", {}), ("If", "positive", "o", outer), ("Neg", "o", "y", {})]  # fmt: skip
    weights = {
        "zero": np.float32(0),
        "five": np.float32(5),
        "w": RANDOM.normal(size=(4, 4)).astype(np.float32),
    }
    return model_of(nodes, {"x": ("n", 4)}, ["y"], weights)


def _positives() -> bytes:
    nodes = [("Greater", "x zero", "m", {}), ("NonZero", "m", "nz", {}), ("Transpose", "nz", "t", {}),
             ("GatherND", "x t", "v", {}), ("ReduceSum", "v", "y", {"keepdims": 0}), ("Add", "v one", "u", {})]  # fmt: skip
    return model_of(nodes, {"x": ("n", "k")}, ["y", "u", "t"], {"zero": np.float32(0), "one": np.float32(1)})


def _positions() -> bytes:
    nodes = [("Gather", "table i", "e", {}), ("Mod", "i three", "k", {}), ("Equal", "k one", "q", {}), ("Not", "q", "nq", {}),
             ("Cast", "k", "kf", {"to": TensorProto.FLOAT}), ("Unsqueeze", "kf axis", "ku", {}), ("Add", "e ku", "y", {}),
             ("Where", "nq i k", "w", {}), ("ReduceSum", "w", "s", {"keepdims": 0}),
             ("ArgMax", "y", "best", {"axis": -1, "keepdims": 0})]  # fmt: skip
    weights = {"table": RANDOM.normal(size=(50, 8)).astype(np.float32), "three": np.int64(3), "one": np.int64(1),
               "axis": np.int64([2])}  # fmt: skip
    return model_of(nodes, {"i": ("b", "t")}, ["y", "w", "s", "nq", "best"], weights, dtype=TensorProto.INT64)


def _floats(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


CASES = {
    "nested if": (_nested_if, {"x": ((1, 4), (3, 4), (5, 4))},
                  [{"x": np.full((n, 4), v, np.float32)} for n, v in ((1, -1), (3, 0.1), (5, 2), (2, -3))]),
    "positives": (_positives, {"x": ((1, 1), (4, 7), (8, 9))},
                  [{"x": x} for x in (_floats(1, 1), _floats(8, 9), -np.ones((3, 4), np.float32), _floats(4, 7))]),
    "positions": (_positions, {"i": ((1, 1), (3, 9), (4, 16))},
                  [{"i": RANDOM.integers(-50, 50, shape)} for shape in ((1, 1), (3, 9), (4, 16))]),
}  # fmt: skip


@pytest.mark.parametrize("effort", [0, 3])
@pytest.mark.parametrize("name", CASES)
def test_the_data_decide(both, name: str, effort: int) -> None:
    make, profile, feeds = CASES[name]
    for actual, expected in both(make(), feeds, profile=profile, effort=effort):
        for output, wanted in expected.items():
            assert actual[output].shape == wanted.shape and actual[output].dtype == wanted.dtype
            np.testing.assert_allclose(actual[output], wanted, rtol=1e-4, atol=1e-5, err_msg=output)
