"""roi_align on CUDA against its numpy reference."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.kernels.cuda.roialign import CudaRoiAlign
from engineworks.ops.roi_align import RoiAlign
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import Shapes, compiles, images, run, workload

REGIONS = [[0, 0, 7, 7], [1.5, 2, 6, 5], [4, 4, 4.5, 4.2], [-3, 4, 30, 22], [5, 5, 2, 2]]


def check(op: RoiAlign, dtype: Any = np.float32, shapes: Shapes | None = None, **dims: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=(2, 3, 8, 9)).astype(dtype),
        np.array(REGIONS, dtype),
        np.array([0, 1, 0, 1, 1]),
    ]
    work = workload(op, arrays, shapes)
    ((_, image),) = images(CudaRoiAlign(), work, 0)
    (out,) = run(image, work, arrays, dims)
    (right,) = reference(op, arrays, dims)
    allowed = {8: 1e-12, 4: 1e-4}.get(np.dtype(dtype).itemsize, 2e-2)
    np.testing.assert_allclose(out.astype(float), right.astype(float), rtol=allowed, atol=allowed)


@pytest.mark.parametrize("combine", ["mean", "max"])
@pytest.mark.parametrize("half_pixel", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_all_settings(combine: Any, half_pixel: bool, ratio: int) -> None:
    check(RoiAlign(height=3, width=2, ratio=ratio, scale=0.75, half_pixel=half_pixel, combine=combine))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_floats(dtype: Any) -> None:
    check(RoiAlign(height=2, width=2), dtype)


def test_sizes_known_at_run_time() -> None:
    n, h, w = symbol("N"), symbol("H"), symbol("W")
    check(RoiAlign(height=2, width=3), np.float32, [(2, 3, h, w), (n, 4), (n,)], N=5, H=8, W=9)


def test_kernels_compile() -> None:
    arrays = [np.zeros((1, 256, 50, 50), np.float16), np.zeros((100, 4), np.float16), np.zeros(100, np.int64)]
    compiles(CudaRoiAlign(), workload(RoiAlign(height=7, width=7, ratio=2), arrays))
    compiles(CudaRoiAlign(), workload(RoiAlign(height=7, width=7, combine="max"), arrays))
