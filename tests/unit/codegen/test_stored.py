"""Results rounded to bf16 as they are stored, against ml_dtypes."""

import ml_dtypes
import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX512, Function
from engineworks.codegen.llvm.loads import load_vector, store_vector
from engineworks.codegen.llvm.stored import emit_stored
from engineworks.core import dtypes
from engineworks.core.target import host
from engineworks.ir.scalar import argument, cast
from engineworks.kernels.tactic import KernelImage
from engineworks.testing.kernels import load_image


@pytest.mark.parametrize("extras", [(), ("avx512bf16",)], ids=["emulated", "instruction"])
def test_halves_go_to_even_and_infinities_stay(extras):
    if not set(extras) <= set(host().features):
        pytest.skip("this CPU has no AVX512_BF16")
    isa = AVX512.with_extras(*extras)
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.standard_normal(500), [np.inf, -np.inf, 0, -0.0, 3e38, 1e-30, 1, 2, 3, 1e9, -7, 5]]
    )
    x = x.astype(np.float32)
    x[:64] = (x[:64].view(np.uint32) & 0xFFFF0000 | 0x8000).view(np.float32)
    f = Function("rounded")
    source, target = f.pointer(0), f.pointer(1)
    with f.loop(0, len(x), isa.lanes) as at:
        value = load_vector(f, isa.lanes, dtypes.f32, f.at(source, at, "float"))
        stored = emit_stored(f, isa, cast(argument(0, dtypes.f32) * 1.5, dtypes.bf16), [value])
        store_vector(f, isa.lanes, dtypes.bf16, f.at(target, f.mul(at, 2)), stored)
    out = np.zeros(len(x), ml_dtypes.bfloat16)
    words = np.array([x.ctypes.data, out.ctypes.data], np.int64)
    image = KernelImage({f.name: f.text()}, frozenset(f.declarations), ())
    load_image(image, isa).call(f.name, words.ctypes.data, 0, 1, 0)
    np.testing.assert_array_equal(out, (x * np.float32(1.5)).astype(ml_dtypes.bfloat16))
