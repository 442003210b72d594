"""Pointwise operators, reductions and normalisations where the standard's cases do not reach: dims, NaN, old opsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from engineworks.core import dtypes
from engineworks.core.dims import evaluate, symbol
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel, Undecided, UnsupportedOperator
from engineworks.frontends.importer import import_model
from engineworks.frontends.onnx.reader import read_model
from engineworks.ir.interpret import interpret
from engineworks.ir.op import REGISTRY


def run_onnx(kind: str, feeds: Mapping[str, np.ndarray], *, opset: int = 13, **attributes: Any) -> np.ndarray:
    """Output 0 of one ONNX node, interpreted."""
    from onnx import helper, numpy_helper

    node = helper.make_node(kind, list(feeds), ["y"], **attributes)
    inputs = [
        helper.make_tensor_value_info(k, numpy_helper.from_array(a).data_type, list(a.shape))
        for k, a in feeds.items()
    ]
    graph = helper.make_graph([node], "one", inputs, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return interpret(import_model(read_model(model, None, "one")), feeds)["y"]


# -- shape arithmetic ----------------------------------------------------------------------------------------------
N, M = symbol("N", 1, 64), symbol("M", 1, 64)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "min", "max"])
def test_arithmetic_on_dims_is_that_of_their_values(name: str) -> None:
    op = REGISTRY[name]()
    made = np.asarray(op.reference(np.array([N, M * 2, 5], object), np.array([M + 3], object)), object)
    for n, m in [(1, 1), (7, 3), (64, 2)]:
        right = op.reference(np.array([n, m * 2, 5]), np.array([m + 3]))
        assert [evaluate(d, {"N": n, "M": m}) for d in made] == right.tolist()


@pytest.mark.parametrize("name", ["div", "mod", "rem"])
def test_division_of_dims_is_that_of_their_values(name: str) -> None:
    op = REGISTRY[name]()
    made = np.asarray(op.reference(np.array([N, N * 6 + 2], object), np.array([4], object)), object)
    for n in (1, 7, 64):
        assert [evaluate(d, {"N": n}) for d in made] == op.reference(
            np.array([n, n * 6 + 2]), np.array([4])
        ).tolist()


def test_division_of_dims_below_zero_is_undecided() -> None:
    with pytest.raises(Undecided, match="toward zero"):
        REGISTRY["div"]().reference(np.array([N - 100], object), np.array([4], object))


def test_comparing_dims_answers_where_bounds_decide_and_is_undecided_elsewhere() -> None:
    equal = REGISTRY["equal"]()
    assert np.asarray(equal.reference(np.array([N, 3], object), np.array([-1, 3], object))).tolist() == [
        False,
        True,
    ]
    assert np.asarray(
        REGISTRY["less"]().reference(np.array([N], object), np.array([65], object))
    ).tolist() == [True]
    with pytest.raises(Undecided):
        equal.reference(np.array([N], object), np.array([8], object))


def test_where_and_products_keep_dims() -> None:
    chosen = REGISTRY["where"]().reference(
        np.array([True, False], object), np.array([N, N], object), np.array([M, M], object)
    )
    assert list(chosen) == [N, M]
    product = REGISTRY["reduce_prod"](axes=(0,), keepdims=False).reference(np.array([N, 3, M], object))  # type: ignore[call-arg]
    assert np.asarray(product, object)[()] == N * M * 3


def test_cast_of_dims_keeps_integers_and_decides_booleans() -> None:
    to_bool = REGISTRY["cast"](dtype=dtypes.bool_)  # type: ignore[call-arg]
    assert np.asarray(to_bool.reference(np.array([N], object))).tolist() == [True]
    assert list(REGISTRY["cast"](dtype=dtypes.i32).reference(np.array([N, 4], object))) == [N, 4]  # type: ignore[call-arg]


# -- corners that the standard's cases leave out ---------------------------------------------------------------------
def test_extremes_and_rectifiers_keep_nan() -> None:
    x = np.array([np.nan, -1, 1], np.float32)
    for op in (REGISTRY["relu"](), REGISTRY["hard_sigmoid"](), REGISTRY["hard_swish"]()):
        assert np.isnan(op.reference(x)[0])
    for name in ("reduce_max", "reduce_min"):
        assert np.isnan(REGISTRY[name]().reference(x)[0])


def test_softplus_and_mish_do_not_overflow_in_f16() -> None:
    x = np.array([-30, 20, 100], np.float16)
    np.testing.assert_allclose(REGISTRY["softplus"]().reference(x).astype(float), [0, 20, 100], atol=1e-6)
    np.testing.assert_allclose(REGISTRY["mish"]().reference(x).astype(float), [0, 20, 100], atol=1e-6)


@pytest.mark.parametrize("name", ["sinh", "asinh", "atanh", "cosh", "acosh"])
def test_hyperbolic_functions_are_accurate_from_tiny_to_huge(name: str) -> None:
    x = np.concatenate(
        [10.0 ** np.arange(-30, 0), 1 + 10.0 ** np.arange(-12, 2), 10.0 ** np.arange(3, 300, 9)]
    )
    x = np.concatenate([x, -x])
    numpy_name = {"asinh": "arcsinh", "atanh": "arctanh", "acosh": "arccosh"}.get(name, name)
    with np.errstate(all="ignore"):
        right, actual = getattr(np, numpy_name)(x), REGISTRY[name]().reference(x)
    np.testing.assert_allclose(actual, right, rtol=2e-12 if name == "acosh" else 4e-14)


def test_pow_of_mixed_dtypes_has_the_dtype_of_the_base() -> None:
    result = run_onnx("Pow", {"a": np.array([2, 3, 4], np.int32), "b": np.array([3, 4, 0.5], np.float32)})
    assert result.dtype == np.int32 and result.tolist() == [8, 81, 2]


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhqd,bkhd->bhqk", [(2, 3, 4, 5), (2, 6, 3, 5)]),
        ("i,j", [(3,), (4,)]),
        ("ij,jk,kl->li", [(2, 3), (3, 4), (4, 5)]),
        ("...ij,...jk", [(7, 1, 2, 3), (5, 3, 4)]),
        ("iij->ji", [(3, 3, 4)]),
        ("abc->", [(2, 3, 4)]),
        ("ab,ab->", [(2, 3), (2, 3)]),
        ("a,b,ab->ab", [(2,), (3,), (2, 3)]),
        ("ba,ca->abc", [(2, 3), (4, 3)]),
        ("ij->...ji", [(2, 3)]),
    ],
)
def test_einsum_agrees_with_numpy(equation: str, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(3)
    feeds = {f"x{k}": rng.standard_normal(s).astype(np.float32) for k, s in enumerate(shapes)}
    np.testing.assert_allclose(
        run_onnx("Einsum", feeds, equation=equation),
        np.einsum(equation, *feeds.values()),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_lines_before_opset_13_reach_to_the_last_axis(kind: str, axis: int) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    flat = x.reshape(int(np.prod(x.shape[:axis])), -1) if axis >= 0 else x.reshape(6, 4)
    right = run_onnx(kind, {"x": flat}, axis=1).reshape(x.shape)
    np.testing.assert_allclose(run_onnx(kind, {"x": x}, opset=11, axis=axis), right, rtol=1e-6)


@pytest.mark.parametrize(
    ("opset", "bounds"), [(7, {"min": -0.5, "max": 0.25}), (10, {"max": 0.25}), (10, {"min": -0.5})]
)
def test_clip_takes_bounds_from_attributes_before_opset_11(opset: int, bounds: dict[str, float]) -> None:
    x = np.linspace(-1, 1, 9, dtype=np.float32)
    right = np.clip(x, bounds.get("min", -np.inf), bounds.get("max", np.inf))
    np.testing.assert_array_equal(run_onnx("Clip", {"x": x}, opset=opset, **bounds), right)


def test_batch_normalization_of_opset_7_agrees_with_torch() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    scale, bias, mean, variance = (rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4))
    right = torch.nn.functional.batch_norm(
        *map(torch.from_numpy, (x, mean, variance, scale, bias)), eps=1e-3
    ).numpy()
    feeds = {"x": x, "s": scale, "b": bias, "m": mean, "v": variance}
    np.testing.assert_allclose(
        run_onnx("BatchNormalization", feeds, opset=7, epsilon=1e-3), right, rtol=1e-5, atol=1e-6
    )


def test_sums_of_squares_in_f16_do_not_overflow_on_the_way() -> None:
    x = np.full((1, 400), 30, np.float16)
    np.testing.assert_allclose(run_onnx("ReduceL2", {"x": x}, axes=[1]), [[600]], rtol=1e-3)


def test_a_cast_to_strings_says_that_it_is_not_supported() -> None:
    with pytest.raises(UnsupportedOperator, match="string"):
        run_onnx("Cast", {"x": np.ones(2, np.float32)}, to=8)


def test_pointwise_of_different_dtypes_is_refused() -> None:
    with pytest.raises(InvalidModel, match="different dtypes"):
        REGISTRY["mul"]().infer(TensorType(dtypes.f32, (2,)), TensorType(dtypes.i64, (2,)))


def test_gemm_transposes_scales_and_broadcasts_its_operands() -> None:
    rng = np.random.default_rng(5)
    for trans_a, trans_b, c_shape in [(0, 0, (5,)), (1, 0, (4, 5)), (0, 1, (4, 1)), (1, 1, ())]:
        a = rng.standard_normal((3, 4) if trans_a else (4, 3)).astype(np.float32)
        b = rng.standard_normal((5, 3) if trans_b else (3, 5)).astype(np.float32)
        c = rng.standard_normal(c_shape).astype(np.float32)
        right = 0.5 * (a.T if trans_a else a) @ (b.T if trans_b else b) + 2 * c
        made = run_onnx("Gemm", {"a": a, "b": b, "c": c}, alpha=0.5, beta=2.0, transA=trans_a, transB=trans_b)
        np.testing.assert_allclose(made, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("axis", "shape"), [(1, (3,)), (0, (2, 3)), (-1, (4,)), (None, (3, 4)), (None, ())])
def test_operands_before_opset_7_align_at_an_axis(axis: int | None, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2, 3, 4)).astype(np.float32), rng.standard_normal(shape).astype(np.float32)
    attributes = {"broadcast": 1} if axis is None else {"broadcast": 1, "axis": axis}
    begins = a.ndim - b.ndim if axis is None else axis % a.ndim
    aligned = b.reshape((*[1] * begins, *shape, *[1] * (a.ndim - begins - b.ndim)))
    np.testing.assert_array_equal(run_onnx("Sub", {"a": a, "b": b}, opset=6, **attributes), a - aligned)


def test_the_slope_of_prelu_before_opset_7_is_one_for_each_channel() -> None:
    x, slope = np.full((2, 3, 4), -1, np.float32), np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(run_onnx("PRelu", {"x": x, "s": slope}, opset=6)[0, :, 0], [-1, -2, -3])


def test_training_is_refused_before_opset_7() -> None:
    with pytest.raises(UnsupportedOperator, match="is_test"):
        run_onnx("Dropout", {"x": np.ones((2, 3), np.float32)}, opset=6)
