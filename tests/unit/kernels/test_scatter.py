"""scatter_elements and scatter_nd against numpy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.kernels.cpu.scatter import CpuScatterElements, CpuScatterND
from engineworks.ops.scatter_elements import ScatterElements
from engineworks.ops.scatter_nd import ScatterND
from engineworks.testing.native import reference, run_op

COMBINATIONS = ("none", "add", "mul", "max", "min")


def elements(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, how: str, **options: Any
) -> None:
    op = ScatterElements(axis=axis, combine=how)  # type: ignore[arg-type]
    (out,) = run_op(CpuScatterElements(), op, [x, indices, updates], split=2, **options)
    np.testing.assert_array_equal(out, reference(op, [x, indices, updates])[0])


def slices(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, how: str, **options: Any) -> None:
    op = ScatterND(combine=how)  # type: ignore[arg-type]
    (out,) = run_op(CpuScatterND(), op, [x, indices, updates], split=2, **options)
    np.testing.assert_array_equal(out, reference(op, [x, indices, updates])[0])


def whole(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Small whole numbers, so that any order of operations gives the same."""
    return rng.integers(-3, 4, shape).astype(np.float32)


@pytest.mark.parametrize("how", COMBINATIONS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements_along_any_axis(how: str, axis: int) -> None:
    rng = np.random.default_rng(0)
    x = whole(rng, 6, 7, 8)
    indices = rng.integers(-6, 6, (4, 3, 5))
    elements(x, indices, whole(rng, 4, 3, 5), axis, how)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16, np.int32, np.uint8, np.int64])
@pytest.mark.parametrize("how", ["none", "add", "max"])
def test_any_dtype(dtype: Any, how: str) -> None:
    rng = np.random.default_rng(1)
    x, updates = (rng.integers(0, 9, s).astype(dtype) for s in ((40,), (30,)))
    elements(x, rng.integers(0, 40, 30).astype(np.int32), updates, 0, how)


def test_bools_are_replaced() -> None:
    elements(np.zeros(5, bool), np.array([1, 3]), np.ones(2, bool), 0, "none")


@pytest.mark.parametrize("how", COMBINATIONS)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_slices_of_any_depth(how: str, length: int) -> None:
    rng = np.random.default_rng(2)
    x = whole(rng, 5, 4, 6)
    indices = rng.integers(-4, 4, (3, 2, length))
    slices(x, indices, whole(rng, 3, 2, *x.shape[length:]), how)


def test_long_slices_are_split() -> None:
    rng = np.random.default_rng(3)
    slices(whole(rng, 5, 1300), np.array([[4], [0], [4]]), whole(rng, 3, 1300), "add")


def test_sizes_known_at_run_time_and_no_updates() -> None:
    rng, n = np.random.default_rng(4), symbol("N", 0)
    slices(
        whole(rng, 6, 3),
        np.zeros((0, 1), np.int64),
        whole(rng, 0, 3),
        "none",
        shapes=[(6, 3), (n, 1), (n, 3)],
        dims={"N": 0},
    )
    x, indices = whole(rng, 6, 3), np.array([[1], [5]])
    slices(x, indices, whole(rng, 2, 3), "none", shapes=[(6, 3), (n, 1), (n, 3)], dims={"N": 2})
