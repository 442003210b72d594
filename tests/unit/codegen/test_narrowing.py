"""Rounding to bytes against numpy: every bound, zero point and lane count, and floats far outside."""

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Function, Isa
from engineworks.codegen.llvm.loads import load_vector, store_vector
from engineworks.codegen.llvm.narrowing import rounded_byte
from engineworks.codegen.llvm.prims import emit_epilogue
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.scalar import Scalar, apply, argument, cast, const
from engineworks.kernels.tactic import KernelImage
from engineworks.testing.kernels import load_image

X = argument(0, dtypes.f32)


def number(value: float) -> Scalar:
    return const(value, dtypes.f32)


def quantised(dtype: DType, low: float, high: float, shift: float, *, min_first: bool = False) -> Scalar:
    value = apply("round_even", X)
    if shift:
        value = value + shift
    if min_first:
        return cast(apply("max", apply("min", value, number(high)), number(low)), dtype)
    return cast(apply("min", apply("max", value, number(low)), number(high)), dtype)


def run(expression: Scalar, x: np.ndarray, isa: Isa) -> np.ndarray:
    f = Function("narrow")
    source, target = f.pointer(0), f.pointer(1)
    with f.loop(0, len(x), isa.lanes) as at:
        value = load_vector(f, isa.lanes, dtypes.f32, f.at(source, at, "float"))
        store_vector(
            f, isa.lanes, expression.dtype, f.at(target, at), emit_epilogue(f, isa, expression, [value])
        )
    out = np.zeros(len(x), expression.dtype.numpy)
    words = np.array([x.ctypes.data, out.ctypes.data], np.int64)
    image = KernelImage({f.name: f.text()}, frozenset(f.declarations), ())
    load_image(image, isa).call(f.name, words.ctypes.data, 0, 1, 0)
    return out


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize(
    ("dtype", "low", "high", "shift"),
    [("i8", -128, 127, 0), ("i8", -127, 127, 0), ("i8", 0, 127, 0), ("u8", 0, 255, 0), ("u8", 3, 200, 0),
     ("u8", 0, 255, 128), ("u8", 7, 255, 7), ("i8", -128, 127, -5)],
)  # fmt: skip
def test_bytes_are_those_of_numpy(dtype, low, high, shift, isa):
    rng = np.random.default_rng(1)
    x = np.concatenate([
        rng.uniform(-600, 600, 408), np.arange(-300, 300) + 0.5,
        [0, -0.0, 1e9, -1e9, 3e9, -3e9, 1e30, -1e30, np.inf, -np.inf, 2.0**31, -(2.0**31), 254.5, 255.5, -128.5, 127.5],
    ]).astype(np.float32)  # fmt: skip
    wanted = np.clip(np.rint(x) + np.float32(shift), low, high)
    for min_first in (False, True):
        expression = quantised(dtypes.by_name(dtype), low, high, shift, min_first=min_first)
        assert rounded_byte(expression) is not None
        np.testing.assert_array_equal(run(expression, x, isa).astype(np.float32), wanted)


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
def test_bytes_that_become_floats_again_are_quantised_twice(isa):
    x = np.random.default_rng(2).uniform(-400, 400, 512).astype(np.float32)
    byte = apply("max", quantised(dtypes.u8, 0, 255, 20), const(25, dtypes.u8))
    again = cast(byte, dtypes.f32) * number(0.5)
    expression = cast(
        apply("min", apply("max", apply("round_even", again), number(-128)), number(127)), dtypes.i8
    )
    wanted = np.clip(np.rint(np.clip(np.rint(x) + 20, 25, 255) * 0.5), -128, 127)
    np.testing.assert_array_equal(run(expression, x, isa).astype(np.float32), wanted)


@pytest.mark.parametrize(
    "expression",
    [quantised(dtypes.i8, -200, 127, 0), quantised(dtypes.i8, -1.5, 127, 0), cast(apply("round_even", X), dtypes.i8),
     quantised(dtypes.i16, -128, 127, 0), cast(apply("min", apply("max", X, number(0)), number(255)), dtypes.u8)],
)  # fmt: skip
def test_other_casts_are_left_alone(expression):
    assert rounded_byte(expression) is None
