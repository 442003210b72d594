"""scatter_elements and scatter_nd on CUDA against numpy, every way."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.ir.op import Op
from engineworks.kernels.cuda.scatter import Atomic, CudaScatterElements, CudaScatterND
from engineworks.ops.scatter_elements import ScatterElements
from engineworks.ops.scatter_nd import ScatterND
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import Shapes, compiles, images, run, workload

COMBINATIONS = ("none", "add", "mul", "max", "min")


def elements(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, how: str, **more: Any
) -> int:
    return check(ScatterElements(axis=axis, combine=how), [x, indices, updates], **more)  # type: ignore[arg-type]


def slices(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, how: str, **more: Any) -> int:
    return check(ScatterND(combine=how), [x, indices, updates], **more)  # type: ignore[arg-type]


def check(
    op: Op, arrays: list[np.ndarray], shapes: Shapes | None = None, dims: dict[str, int] | None = None
) -> int:
    """How many ways there are; all must give the reference."""
    provider = CudaScatterElements() if isinstance(op, ScatterElements) else CudaScatterND()
    work = workload(op, arrays, shapes)
    (right,) = reference(op, arrays, dims)
    ways = 0
    for tactic, image in images(provider, work, 5):
        (out,) = run(image, work, arrays, dims)
        np.testing.assert_array_equal(out, right, str(tactic.config))
        ways += 1
    return ways


def whole(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Small whole numbers, so that any order of operations gives the same."""
    return rng.integers(-3, 4, shape).astype(np.float32)


@pytest.mark.parametrize("how", COMBINATIONS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements_along_any_axis(how: str, axis: int) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(-6, 6, (4, 3, 5))
    assert elements(whole(rng, 6, 7, 8), indices, whole(rng, 4, 3, 5), axis, how) == 2


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16, np.int32, np.uint8, np.int64])
@pytest.mark.parametrize("how", ["none", "add", "max"])
def test_any_dtype(dtype: Any, how: str) -> None:
    rng = np.random.default_rng(1)
    x, updates = (rng.integers(0, 9, s).astype(dtype) for s in ((40,), (30,)))
    elements(x, rng.integers(0, 40, 30).astype(np.int32), updates, 0, how)


def test_integers_have_atomics() -> None:
    rng = np.random.default_rng(1)
    work = workload(
        ScatterND(combine="add"),
        [np.zeros((40, 3), np.int32), np.zeros((9, 1), int), np.zeros((9, 3), np.int32)],
    )
    assert any(isinstance(t.config, Atomic) for t, _ in images(CudaScatterND(), work, 5))
    x, updates = (rng.integers(0, 9, s).astype(np.int32) for s in ((40, 3), (30, 3)))
    assert slices(x, rng.integers(-40, 40, (30, 1)), updates, "min") == 3


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_stays() -> None:
    x, updates = np.array([1, np.nan, 2], np.float32), np.array([np.nan, 5], np.float32)
    for how in ("max", "min", "add"):
        elements(x, np.array([0, 1]), updates, 0, how)


def test_bools_are_replaced() -> None:
    elements(np.zeros(5, bool), np.array([1, 3]), np.ones(2, bool), 0, "none")


@pytest.mark.parametrize("how", COMBINATIONS)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_slices_of_any_depth(how: str, length: int) -> None:
    rng = np.random.default_rng(2)
    slices(
        whole(rng, 5, 4, 6), rng.integers(-4, 4, (3, 2, length)), whole(rng, 3, 2, *(5, 4, 6)[length:]), how
    )


def test_long_slices_and_many_updates() -> None:
    rng = np.random.default_rng(3)
    slices(whole(rng, 5, 1300), np.array([[4], [0], [4]]), whole(rng, 3, 1300), "add")
    elements(whole(rng, 9), rng.integers(0, 9, 300), whole(rng, 300), 0, "add")


def test_sizes_known_at_run_time_and_no_updates() -> None:
    rng, n = np.random.default_rng(4), symbol("N", 0)
    shapes = [(6, 3), (n, 1), (n, 3)]
    for how in ("none", "add"):
        slices(
            whole(rng, 6, 3), np.zeros((0, 1), np.int64), whole(rng, 0, 3), how, shapes=shapes, dims={"N": 0}
        )
        slices(whole(rng, 6, 3), np.array([[1], [5]]), whole(rng, 2, 3), how, shapes=shapes, dims={"N": 2})


@pytest.mark.parametrize("how", ["none", "add"])
@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_kernels_compile(how: str, dtype: Any) -> None:
    arrays = [np.zeros((1000, 64), dtype), np.zeros((300, 1), np.int64), np.zeros((300, 64), dtype)]
    compiles(CudaScatterND(), workload(ScatterND(combine=how), arrays), 1)  # type: ignore[arg-type]
