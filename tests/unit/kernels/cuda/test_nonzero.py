"""non_zero on CUDA against its numpy reference."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.kernels.cuda.nonzero import CudaNonZero, Split
from engineworks.kernels.tactic import Tactic
from engineworks.ops.non_zero import NonZero
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import GPU, Shapes, compiles, images, run, workload

OP = NonZero(count=symbol("count", 0))


def check(x: np.ndarray, way: Split | None = None, shapes: Shapes | None = None, **dims: int) -> None:
    work = workload(OP, [x], shapes)
    provider = CudaNonZero()
    if way is None:
        ((_, image),) = images(provider, work, 0)
    else:
        image = provider.build(work, Tactic(provider.name, way), GPU)
    (out,) = run(image, work, [x], dims)
    np.testing.assert_array_equal(out, reference(OP, [x], dims)[0])


@pytest.mark.parametrize("way", [Split(1, 64, 2), Split(5, 32, 1), Split(1, 1024, 4)], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_way(way: Split, share: float) -> None:
    check(np.random.default_rng(0).uniform(size=(3, 7, 11)) < share, way)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
)
def test_negative_zero_is_zero_and_nan_is_not(dtype: Any) -> None:
    check(np.array([[0.0, -0.0, 1.0], [float("nan"), -2.0, 0.0]], dtype))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_integers(dtype: Any) -> None:
    lowest = np.iinfo(dtype).min
    check(np.array([lowest, 1, 0, 3], dtype))


@pytest.mark.parametrize("n", [0, 1, 700])
def test_sizes_known_at_run_time(n: int) -> None:
    x = np.random.default_rng(1).integers(0, 2, (n, 3)).astype(bool)
    check(x, None, [(symbol("N", 0), 3)], N=n)
    check(x, Split(3, 64, 1), [(symbol("N", 0, 800), 3)], N=n)


def test_a_scalar_has_no_coordinates() -> None:
    check(np.array(3.0, np.float32))


def test_kernels_compile() -> None:
    compiles(CudaNonZero(), workload(OP, [np.zeros((1000, 700), bool)]))
