"""Cheaper rules for values that are rounded to 16 bits in the end."""

from __future__ import annotations

from math import erf

import numpy as np

import engineworks.ops  # noqa: F401  (fills the table of primitives)
from engineworks.codegen.triton.compile import compile_cubin
from engineworks.codegen.triton.function import KernelFunction, named, pointer
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.codegen.triton.interpret import Interpreted
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import emit_scalar
from engineworks.core import dtypes
from engineworks.ir.scalar import apply, argument

COUNT = 1024
HALF_ULP_OF_F16 = 2.0**-12
"""Near one."""


def _erf_kernel(*, rough: bool) -> KernelFunction:
    lines = Lines(1)
    value = emit_scalar(lines, apply("erf", argument(0, dtypes.f32)), lambda *_: "x", rough=rough)
    text = f"""
@triton.jit
def KERNEL(source, to):
    at = tl.arange(0, {COUNT})
    x = tl.load(source + at)
{lines}
    tl.store(to + at, {value})
"""
    return named("erf", text, (pointer("source", dtypes.f32), pointer("to", dtypes.f32)))


def _computed(x: np.ndarray, *, rough: bool) -> np.ndarray:
    y = np.zeros_like(x)
    Interpreted(_erf_kernel(rough=rough)).run((1,), (x.ctypes.data, y.ctypes.data))
    return y


def test_a_rough_erf_is_far_closer_than_f16_can_tell() -> None:
    x = np.linspace(-6, 6, COUNT).astype(np.float32)
    exact = np.vectorize(erf)(x.astype(np.float64))
    assert np.abs(_computed(x, rough=True) - exact).max() < HALF_ULP_OF_F16 / 6
    assert np.abs(_computed(x, rough=False) - exact).max() < 2e-7


def test_its_ends_are_exact() -> None:
    """So that a gelu of large numbers is the number, or nothing."""
    x = np.resize(np.array([np.nan, np.inf, -np.inf, 3.2, -3.2, 1e30, 0.0], np.float32), COUNT)
    y = _computed(x, rough=True)
    np.testing.assert_array_equal(y[:7], np.array([np.nan, 1, -1, 1, -1, 1, 0], np.float32))


def test_it_compiles() -> None:
    for arch in ("sm_80", "sm_90", "sm_100"):
        assert compile_cubin(_erf_kernel(rough=True), gpu_of(arch)).code
