"""top_k against its numpy reference: any k, ties, NaN, axes, sizes known at run time."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2
from engineworks.core.dims import Dim, symbol
from engineworks.kernels.cpu.topk import CpuTopK
from engineworks.ops.top_k import TopK
from engineworks.testing.native import reference, run_op


def check(x: np.ndarray, k: Dim, axis: int = -1, largest: bool = True, **options: Any) -> None:
    op = TopK(k=k, axis=axis, largest=largest)
    values, indices = run_op(CpuTopK(), op, [x], **options)
    right = reference(op, [x], options.get("dims"))
    np.testing.assert_array_equal(indices, right[1])
    np.testing.assert_array_equal(values, right[0])


@pytest.mark.parametrize("k", [0, 1, 5, 40, 64, 65, 100])
@pytest.mark.parametrize("largest", [True, False])
def test_any_k_gives_the_best_in_order(k: int, largest: bool) -> None:
    check(np.random.default_rng(k).normal(size=(3, 100)).astype(np.float32), k, largest=largest, split=2)


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int8, np.uint8, np.uint64]
)
@pytest.mark.parametrize("k", [3, 70])
def test_ties_go_to_the_lower_index(dtype: Any, k: int) -> None:
    x = np.random.default_rng(1).integers(-3, 4, (2, 90)).astype(dtype)
    check(x, k)
    check(x, k, largest=False)


@pytest.mark.parametrize("k", [4, 70])
def test_nan_is_largest_and_both_zeros_are_equal(k: int) -> None:
    x = np.random.default_rng(2).choice(
        np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1], np.float32), (3, 80)
    )
    check(x, k)
    check(x, k, largest=False)


def test_axes_with_neighbours_apart() -> None:
    check(np.random.default_rng(3).normal(size=(4, 50, 6)).astype(np.float32), 7, axis=1, split=3)
    check(np.random.default_rng(3).normal(size=(90, 6)).astype(np.float32), 80, axis=0)


@pytest.mark.parametrize("n", [1, 33, 200])
def test_sizes_known_at_run_time(n: int) -> None:
    x = np.random.default_rng(4).normal(size=(2, n)).astype(np.float32)
    for count in (symbol("N", 1), symbol("N", 1, 300)):
        check(x, count, shapes=[(2, count)], dims={"N": n})


def test_no_lines_do_nothing() -> None:
    check(np.zeros((0, 5), np.float32), 2)


@pytest.mark.parametrize("order", ["random", "rising", "falling", "equal"])
@pytest.mark.parametrize("k", [30, 70])
def test_long_lines_in_any_order(order: str, k: int) -> None:
    x = np.random.default_rng(5).normal(size=(2, 3001)).astype(np.float32)
    x = {"random": x, "rising": np.sort(x), "falling": -np.sort(-x), "equal": np.ones_like(x)}[order]
    check(x, k)
    check(x, k, largest=False, isa=AVX2)
