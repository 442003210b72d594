"""NaN, infinities and empty tensors give what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks

SPECIAL = np.array(
    [
        [np.nan, 1, -2, 3],
        [np.inf, 1, 2, 3],
        [-np.inf, 0, -0.0, 5],
        [np.inf, -np.inf, 1, 2],
        [1e38, -1e38, 1e-40, 7],
    ],
    np.float32,
)
ROWS = np.concatenate([SPECIAL, np.full((1, 4), -np.inf, np.float32)])
UNARY = [
    "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Softplus", "Erf", "Elu", "LeakyRelu", "HardSwish", "Floor", "Round",
    "Sin", "Cos", "Reciprocal", "HardSigmoid", "Selu", "Softsign", "Sign", "IsNaN", "IsInf", "Mish", "Gelu", "Atan",
]  # fmt: skip


def _assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, wanted in expected.items():
        assert actual[name].shape == wanted.shape and actual[name].dtype == wanted.dtype
        np.testing.assert_allclose(actual[name], wanted, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("op", UNARY)
def test_special_values_of_one_operand(model, both, op: str) -> None:
    data = model([(op, "x", "y", {})], {"x": ROWS.shape}, ["y"], opset=20)
    _assert_same(*both(data, [{"x": ROWS}])[0])


@pytest.mark.parametrize(
    "op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Greater", "LessOrEqual", "Equal"]
)
def test_special_values_of_two_operands(model, both, op: str) -> None:
    a, b = (
        v.ravel()
        for v in np.meshgrid(
            np.float32([np.nan, np.inf, -np.inf, 0, -0.0, 1, -2.5]),
            np.float32([np.nan, np.inf, -np.inf, 0, 2, -1]),
        )
    )
    data = model([(op, "a b", "y", {})], {"a": a.shape, "b": b.shape}, ["y"])
    _assert_same(*both(data, [{"a": a, "b": b}])[0])


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("ReduceMax", {}), ("ReduceMin", {}), ("ReduceSum", {}), ("ReduceMean", {}), ("ReduceL2", {}), ("Softmax", {"axis": -1}),
     ("LogSoftmax", {"axis": -1}), ("Softmax", {"axis": 0}), ("ReduceProd", {})],
)  # fmt: skip
def test_special_values_along_rows(model, both, op: str, attributes: dict) -> None:
    weights = {"axes": np.array([1])} if op.startswith("Reduce") else {}
    data = model([(op, " ".join(["x", *weights]), "y", attributes)], {"x": ROWS.shape}, ["y"], weights)
    _assert_same(*both(data, [{"x": ROWS}])[0])


def test_special_values_through_normalisation(model, both) -> None:
    weights = {"scale": np.float32([1, 2, 3, 4]), "bias": np.float32([0, 1, 0, 1])}
    data = model([("LayerNormalization", "x scale bias", "y", {})], {"x": SPECIAL[:4].shape}, ["y"], weights)
    _assert_same(*both(data, [{"x": SPECIAL[:4]}])[0])


def test_nan_reaches_only_the_outputs_that_read_it(model, both) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 12, 12)).astype(np.float32)
    x[0, 1, 5, 5], x[0, 2, 0, 11] = np.nan, np.inf
    filters = {"w": np.random.default_rng(1).normal(size=(8, 3, 3, 3)).astype(np.float32)}
    nodes = [("Conv", "x w", "c", {"pads": [1, 1, 1, 1]}), ("Relu", "c", "r", {}),
             ("MaxPool", "r", "y", {"kernel_shape": [2, 2], "strides": [2, 2]})]  # fmt: skip
    data = model(nodes, {"x": x.shape}, ["y", "c"], filters)
    ((actual, expected),) = both(data, [{"x": x}], strict_math=True)
    np.testing.assert_array_equal(np.isnan(actual["c"]), np.isnan(expected["c"]))
    # A window that holds a NaN gives NaN here, its largest number in ONNX Runtime; ONNX does not say which.
    holds_nan = np.isnan(expected["c"]).reshape(1, 8, 6, 2, 6, 2).any(axis=(3, 5))
    np.testing.assert_array_equal(np.isnan(actual["y"]), holds_nan)
    np.testing.assert_allclose(actual["y"][~holds_nan], expected["y"][~holds_nan], rtol=1e-4, atol=1e-4)


def test_nan_in_a_product_stays_in_its_row(model, both) -> None:
    x = np.random.default_rng(0).normal(size=(7, 33)).astype(np.float32)
    x[3, 32], x[5, 0] = np.nan, np.inf
    weights = {"w": np.random.default_rng(1).normal(size=(33, 19)).astype(np.float32)}
    _assert_same(*both(model([("MatMul", "x w", "y", {})], {"x": x.shape}, ["y"], weights), [{"x": x}])[0])


EMPTY = [
    ([("Add", "x x", "y", {})], {"x": (0, 3)}, {}),
    ([("ReduceSum", "x", "y", {})], {"x": (0, 3)}, {}),
    ([("ReduceSum", "x axes", "y", {})], {"x": (4, 0)}, {"axes": np.array([1])}),
    ([("Concat", "x z", "y", {"axis": 0})], {"x": (0, 3), "z": (2, 3)}, {}),
    ([("MatMul", "x w", "y", {})], {"x": (0, 4)}, {"w": np.ones((4, 5), np.float32)}),
    ([("MatMul", "x z", "y", {})], {"x": (3, 0), "z": (0, 5)}, {}),
    ([("Transpose", "x", "t", {"perm": [1, 0]}), ("Relu", "t", "y", {})], {"x": (0, 3)}, {}),
    ([("Conv", "x w", "y", {})], {"x": (0, 2, 5, 5)}, {"w": np.ones((3, 2, 3, 3), np.float32)}),
    ([("Softmax", "x", "y", {})], {"x": (0, 3)}, {}),
    ([("Gather", "x i", "y", {})], {"x": (4, 3)}, {"i": np.zeros((0,), np.int64)}),
    ([("Reshape", "x s", "y", {})], {"x": (0, 3)}, {"s": np.array([3, 0, 2])}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "inputs", "weights"), EMPTY, ids=lambda v: v[0][0] if isinstance(v, list) else None
)
def test_tensors_without_elements(model, both, nodes, inputs, weights) -> None:
    if nodes[0][0] == "Reshape":
        nodes = [(*nodes[0][:3], {"allowzero": 1})]
    arrays = {n: np.ones(s, np.float32) for n, s in inputs.items()}
    _assert_same(*both(model(nodes, inputs, ["y"], weights), [arrays])[0])


def test_a_dynamic_axis_may_be_empty(model, both) -> None:
    weights = {"w": np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)}
    nodes = [("MatMul", "x w", "m", {}), ("Relu", "m", "r", {}), ("Concat", "r m", "y", {"axis": 0})]
    data = model(nodes, {"x": ("n", 6)}, ["y"], weights)
    profile = {"x": ((0, 6), (4, 6), (9, 6))}
    feeds = [{"x": np.random.default_rng(2).normal(size=(n, 6)).astype(np.float32)} for n in (0, 1, 9)]
    for actual, expected in both(data, feeds, profile=profile):
        _assert_same(actual, expected)


@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (0, 0)])
def test_attention_without_queries(model, both, queries: int, keys: int) -> None:
    nodes = [
        ("MatMul", "q k", "s", {}),
        ("Softmax", "s", "p", {"axis": -1}),
        ("MatMul", "p v", "y", {}),
    ]
    shapes = {"q": (1, 2, queries, 8), "k": (1, 2, 8, keys), "v": (1, 2, keys, 5)}
    feeds = {n: np.ones(s, np.float32) for n, s in shapes.items()}
    _assert_same(*both(model(nodes, shapes, ["y"]), [feeds])[0])


def test_a_transposed_convolution_of_nothing_is_nothing(model) -> None:
    """ONNX Runtime refuses this one."""
    weights = {"w": np.ones((3, 2, 2, 2), np.float32)}
    data = model([("ConvTranspose", "x w", "y", {"strides": [2, 2]})], {"x": (2, 3, 0, 4)}, ["y"], weights)
    made = engineworks.build(data, effort=0, threads=1)(x=np.ones((2, 3, 0, 4), np.float32))
    assert made["y"].shape == (2, 2, 0, 8)
