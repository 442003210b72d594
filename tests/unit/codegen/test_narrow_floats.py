"""Elements of eight bits and fewer in engines: every code and every rounding is as in numpy's twins (ml_dtypes)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import engineworks
import engineworks.ops
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph

FLOATS = (dtypes.f8e4m3, dtypes.f8e5m2, dtypes.f8e4m3fnuz, dtypes.f8e5m2fnuz, dtypes.f8e8m0, dtypes.f4e2m1)
INTEGERS = (dtypes.i4, dtypes.u4, dtypes.i2, dtypes.u2)
TARGETS = ("cpu", "cpu:avx2")


def _cast(given: np.ndarray, to: DType, target: str) -> np.ndarray:
    g = GraphBuilder(Graph("cast"))
    x = g.input("x", dtypes.from_numpy(given.dtype), given.shape)
    g.output(g.cast(x, dtype=to, saturate=False), "y")
    engine = engineworks.build(g.graph, target=target, effort=0, threads=1, timing_cache=False)
    return engine(x=given)["y"]


def _codes(dtype: DType) -> np.ndarray:
    return np.arange(1 << dtype.bits).astype(np.uint8).view(dtype.numpy)


def _values(dtype: DType) -> np.ndarray:
    """Every value, the ties between neighbours and what lies just beside them, both signs, and what is out of range."""
    grid = np.unique(np.abs(_codes(dtype).astype(np.float32)))
    grid = grid[np.isfinite(grid)]
    ties = ((grid[1:].astype(np.float64) + grid[:-1]) / 2).astype(np.float32)
    with np.errstate(over="ignore"):
        top = grid[-1] * np.array([1.03, 1.04, 1.0625, 1.1, 1.125, 1.25, 1.5, 1e6], np.float32)
    sizes = np.concatenate(
        [grid, ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(9e9)), top]
    )
    return np.concatenate([sizes, -sizes, np.array([np.nan, np.inf, -np.inf, 1e-30, -1e-30], np.float32)])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
def test_codes_are_read_as_numpy_reads_them(dtype: DType, target: str) -> None:
    codes = _codes(dtype)
    np.testing.assert_array_equal(_cast(codes, dtypes.f32, target), codes.astype(np.float32))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_are_rounded_as_numpy_rounds_them(dtype: DType, target: str) -> None:
    values = _values(dtype)
    result = _cast(values, dtype, target)
    expected = values.astype(dtype.numpy)
    real = ~np.isnan(expected.astype(np.float32))
    np.testing.assert_array_equal(np.isnan(result.astype(np.float32)), ~real)
    np.testing.assert_array_equal(result.view(np.uint8)[real], expected.view(np.uint8)[real])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_small_integers_wrap_and_lie_in_bytes_as_numpy_has_them(dtype: DType, target: str) -> None:
    wide = np.arange(-20, 40, dtype=np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = wide.astype(dtype.numpy)
    np.testing.assert_array_equal(_cast(wide, dtype, target).view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("target", TARGETS)
def test_sign_bits_above_a_small_integer_are_ignored(target: str) -> None:
    dirty = np.array([0x0F, 0xFF, 0x8F, 0x07], np.uint8).view(dtypes.i4.numpy)
    assert _cast(dirty, dtypes.i32, target).tolist() == [-1, -1, -1, 7]
