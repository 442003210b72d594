"""cum_sum on CUDA against its numpy reference."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import Dim, symbol
from engineworks.kernels.cuda.cumsum import CudaCumSum, Scan
from engineworks.kernels.tactic import Tactic
from engineworks.ops.cum_sum import CumSum
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import GPU, compiles, images, run, workload

WAYS = [Scan(1, 64, 1, 2), Scan(1, 16, 8, 1), Scan(3, 16, 4, 1)]


def check(
    op: CumSum, x: np.ndarray, way: Scan | None = None, shape: tuple[Dim, ...] | None = None, **dims: int
) -> None:
    work = workload(op, [x], None if shape is None else [shape])
    provider = CudaCumSum()
    if way is None:
        ((_, image),) = images(provider, work, 0)
    else:
        image = provider.build(work, Tactic(provider.name, way), GPU)
    (out,) = run(image, work, [x], dims)
    (right,) = reference(op, [x], dims)
    assert out.dtype == right.dtype
    narrow = x.dtype.itemsize < 4 and x.dtype.kind not in "iu"
    np.testing.assert_allclose(
        out.astype(np.float64), right.astype(np.float64), rtol=8e-3 if narrow else 1e-5, atol=1e-4
    )


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_every_way_in_both_directions(way: Scan, exclusive: bool, reverse: bool) -> None:
    x = np.random.default_rng(0).normal(size=(3, 131)).astype(np.float32)
    check(CumSum(axis=1, exclusive=exclusive, reverse=reverse), x, way)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_products_and_axes_with_neighbours_apart(way: Scan) -> None:
    x = np.random.default_rng(1).uniform(0.5, 1.5, (2, 40, 5)).astype(np.float32)
    check(CumSum(axis=1, combine="prod"), x, way)
    check(CumSum(axis=0, exclusive=True), x, way)


@pytest.mark.parametrize(
    "dtype",
    [np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.int8, np.uint8, np.int32, np.int64]
    + [np.uint64],
)  # fmt: skip
def test_any_dtype(dtype: Any) -> None:
    x = np.random.default_rng(2).integers(0, 9, (2, 50)).astype(dtype)
    check(CumSum(axis=1), x, Scan(3, 16, 4, 1))


@pytest.mark.parametrize("n", [0, 1, 77])
def test_sizes_known_at_run_time(n: int) -> None:
    x = np.random.default_rng(3).normal(size=(3, n)).astype(np.float32)
    check(CumSum(axis=1), x, None, (3, symbol("N", 0)), N=n)
    check(CumSum(axis=1), x, WAYS[2], (3, symbol("N", 0, 90)), N=n)
    check(CumSum(axis=0), x, None, (3, symbol("N", 0)), N=n)


@pytest.mark.parametrize(("dtype", "shape"), [(np.float16, (8, 4096)), (np.int64, (1, 100_000))])
def test_kernels_compile(dtype: Any, shape: tuple[int, ...]) -> None:
    compiles(CudaCumSum(), workload(CumSum(axis=1), [np.zeros(shape, dtype)]))
    compiles(CudaCumSum(), workload(CumSum(axis=0, combine="prod"), [np.zeros(shape, dtype)]))
