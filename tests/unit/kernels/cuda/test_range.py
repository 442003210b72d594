"""range on CUDA against its numpy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.kernels.cuda.range import CudaRange
from engineworks.ops.range import Range
from engineworks.testing.gpu_kernels import interpret_image
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import compiles, images, run, workload


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(("start", "limit", "delta"), [(2, 11, 3), (5, 2, 1), (0, 90, 1), (3, 3, 1)])
def test_rising(dtype: Any, start: int, limit: int, delta: int) -> None:
    check(np.array(start, dtype), np.array(limit, dtype), np.array(delta, dtype))


@pytest.mark.parametrize(("start", "limit", "delta"), [(1, -2, -0.5), (0.1, 1, 0.3), (5, 8, -1)])
def test_falling_and_broken(start: float, limit: float, delta: float) -> None:
    check(*(np.array(v, np.float32) for v in (start, limit, delta)))


def test_more_than_one_block() -> None:
    check(*(np.array(v, np.int64) for v in (7, 5000, 2)))


def check(*arrays: np.ndarray) -> None:
    for most in (None, 4096):
        op = Range(count=symbol("count", 0, most))
        work = workload(op, arrays)
        ((_, image),) = images(CudaRange(), work, 0)
        (out,) = run(image, work, arrays)
        np.testing.assert_allclose(out, reference(op, arrays)[0], rtol=1e-6)


def test_what_does_not_fit_is_minus_one() -> None:
    arrays = [np.array(v, np.int64) for v in (0, 9, 1)]
    op = Range(count=symbol("count", 0, 8))
    work = workload(op, arrays)
    ((_, image),) = images(CudaRange(), work, 0)
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True) if o is not None]
    with pytest.raises(
        ValueError, match="incompatible"
    ):  # the size that the interpreter then lays the output out with
        interpret_image(image, given, work.outputs, {"count": 8}, symbols=["count"])


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_kernels_compile(dtype: Any) -> None:
    scalar = np.array(1, dtype)
    compiles(CudaRange(), workload(Range(count=symbol("count", 0, 9000)), [scalar, scalar, scalar]))
