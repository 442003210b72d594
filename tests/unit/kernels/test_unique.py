"""unique and roi_align against their numpy references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.kernels.cpu.roialign import CpuRoiAlign
from engineworks.kernels.cpu.unique import CpuUnique
from engineworks.ops.roi_align import RoiAlign
from engineworks.ops.unique import Unique
from engineworks.testing.native import reference, run_op


def check(x: np.ndarray, axis: int = 0, **options: Any) -> None:
    for is_sorted in (True, False):
        op = Unique(count=symbol("n", 0), axis=axis, is_sorted=is_sorted)
        for got, right in zip(run_op(CpuUnique(), op, [x], **options), reference(op, [x]), strict=True):
            np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("n", [0, 1, 2, 31, 33, 500])
def test_elements(n: int) -> None:
    check(np.random.default_rng(n).integers(-9, 9, n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int32, bool])
def test_any_dtype(dtype: Any) -> None:
    check(np.random.default_rng(1).integers(0, 5, 60).astype(dtype))


def test_nan_are_equal_and_so_are_zeros() -> None:
    check(np.random.default_rng(2).choice(np.array([np.nan, 0.0, -0.0, 1, -np.inf], np.float32), 70))


@pytest.mark.parametrize(("shape", "axis"), [((50, 2), 0), ((2, 60, 2), 1), ((3, 40), 1), ((40, 1, 1), 0)])
def test_slices(shape: tuple[int, ...], axis: int) -> None:
    check(np.random.default_rng(3).integers(0, 2, shape), axis)


def test_a_size_known_at_run_time() -> None:
    n = symbol("N", 0)
    check(np.random.default_rng(4).integers(0, 4, (45, 2)), shapes=[(n, 2)], dims={"N": 45})


@pytest.mark.parametrize("ratio", [0, 1, 3])
@pytest.mark.parametrize("half_pixel", [True, False])
@pytest.mark.parametrize("combine", ["mean", "max"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regions_inside_and_outside(ratio: int, half_pixel: bool, combine: Any, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (2, 3, 9, 11)).astype(dtype)
    corners = rng.uniform(-4, 14, (6, 2, 2))
    corners.sort(axis=1)
    regions = corners.reshape(6, 4).astype(dtype)
    images = rng.integers(0, 2, 6)
    op = RoiAlign(height=3, width=2, ratio=ratio, scale=0.75, half_pixel=half_pixel, combine=combine)
    (out,) = run_op(CpuRoiAlign(), op, [x, regions, images], split=2)
    np.testing.assert_allclose(out, reference(op, [x, regions, images])[0], rtol=1e-4, atol=1e-5)


def test_a_region_with_more_samples_than_there_is_room_for() -> None:
    x = np.random.default_rng(6).uniform(-1, 1, (1, 9, 40, 30)).astype(np.float32)
    regions = np.array([[1, -20, 5, 1100], [1, 2, 25, 30]], np.float32)
    op = RoiAlign(height=2, width=2)
    (out,) = run_op(CpuRoiAlign(), op, [x, regions, np.zeros(2, np.int64)])
    np.testing.assert_allclose(
        out, reference(op, [x, regions, np.zeros(2, np.int64)])[0], rtol=1e-3, atol=1e-5
    )
