"""unique on CUDA against its numpy reference."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.kernels.cuda.unique import CudaUnique, Split
from engineworks.kernels.tactic import Tactic
from engineworks.ops.unique import Unique
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import GPU, Shapes, compiles, run, workload


def check(
    x: np.ndarray,
    axis: int = 0,
    is_sorted: bool = True,
    pieces: int = 1,
    shapes: Shapes | None = None,
    **dims: int,
) -> None:
    op = Unique(count=symbol("count", 0), axis=axis, is_sorted=is_sorted)
    work = workload(op, [x], shapes)
    image = CudaUnique().build(work, Tactic("", Split(pieces)), GPU)
    for made, right in zip(run(image, work, [x], dims), reference(op, [x], dims), strict=True):
        comparable = np.float32 if right.dtype.kind == "V" else right.dtype
        np.testing.assert_array_equal(made.astype(comparable), right.astype(comparable))


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, ml_dtypes.bfloat16, np.int64, np.uint8, np.int32, bool]
)
def test_elements_of_any_dtype(dtype: Any, is_sorted: bool) -> None:
    check(np.random.default_rng(0).integers(-3, 9, 150).astype(dtype), is_sorted=is_sorted, pieces=3)


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_along_any_axis(axis: int, is_sorted: bool) -> None:
    check(np.random.default_rng(1).integers(0, 2, (9, 10, 3)).astype(np.float32)[:, :, :2], axis, is_sorted)


def test_nan_are_equal_and_so_are_both_zeros() -> None:
    check(np.array([0.0, np.nan, -0.0, 1, -np.nan, -np.inf], np.float32))


def test_more_than_one_run() -> None:
    check(np.random.default_rng(2).integers(0, 99, 2500).astype(np.float32), is_sorted=False, pieces=2)


@pytest.mark.parametrize("n", [0, 1, 40])
def test_sizes_known_at_run_time(n: int) -> None:
    x = np.random.default_rng(3).integers(0, 9, n)
    check(x, shapes=[(symbol("N", 0, 100),)], N=n)


def test_slices_without_elements_are_equal() -> None:
    check(np.zeros((4, 0), np.float32))


@pytest.mark.parametrize(
    ("dtype", "shape"), [(np.float32, (3000,)), (np.int64, (300,)), (np.float16, (30, 5))]
)
def test_kernels_compile(dtype: Any, shape: tuple[int, ...]) -> None:
    compiles(
        CudaUnique(), workload(Unique(count=symbol("count", 0), is_sorted=False), [np.zeros(shape, dtype)])
    )
