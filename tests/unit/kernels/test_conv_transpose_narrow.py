"""Transposed convolutions of bf16, f16 and bytes against torch in float64."""

from dataclasses import replace

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.target import host
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_transpose_narrow import CpuConvTransposeNarrow
from engineworks.ops.conv_transpose import ConvTranspose
from engineworks.testing.kernels import run_image
from tests.unit.kernels.conv_case import Case, last, rows, torch_conv

FEATURES = ("amx-tile", "amx-bf16", "amx-int8", "avx512vnni", "avx512bf16")
N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
ISAS = [AVX512, AVX2, AVX512.with_extras(*FEATURES)]
CASES = {
    "2x2 stride 2": (ConvTranspose((2, 2)), (2, 20, 5, 6), (20, 24, 2, 2)),
    "4x4 stride 2": (ConvTranspose((2, 2), (1, 1, 1, 1)), (1, 16, 5, 6), (16, 24, 4, 4)),
    "uneven": (ConvTranspose((2, 2), (1, 0, 1, 1), output_padding=(1, 1)), (1, 32, 5, 6), (32, 12, 3, 3)),
    "groups and dilation": (ConvTranspose((3, 2), (1, 0, 1, 2), (2, 1), 2), (1, 8, 5, 6), (8, 12, 3, 2)),
    "one axis": (ConvTranspose((2,), (1, 1)), (1, 8, 9), (8, 12, 4)),
    "three axes": (ConvTranspose((2, 1, 2)), (1, 8, 3, 4, 5), (8, 12, 2, 3, 2)),
    "dynamic": (ConvTranspose((2, 2), (1, 1, 1, 1)), (N, 20, H, W), (20, 24, 4, 4)),
}


@pytest.mark.parametrize("isa", ISAS, ids=["avx512", "avx2", "all"])
@pytest.mark.parametrize("dtype", ["bf16", "f16", "i8"])
@pytest.mark.parametrize("name", CASES)
def test_transposed_convolutions_equal_torch(name, dtype, isa):
    if not isa.extras <= set(host().features):
        pytest.skip("this CPU lacks some of the features")
    op, x, w = CASES[name]
    out = "i32" if dtype == "i8" else "f32"
    op = replace(op, out_dtype=dtypes.by_name(out))
    sizes = {"N": 2, "H": 6, "W": 9}
    inputs = (last(*x, dtype=dtype), rows(*w, dtype=dtype), rows(w[1] * op.groups, dtype=out))
    case = Case(op, inputs, relu=True, dims=sizes)
    work, rng = case.workload(), np.random.default_rng(3)
    shapes = [[sizes.get(str(d).strip("`"), d) for d in t.shape] for t in inputs]
    arrays = [
        rng.integers(-128, 128, s).astype(t.dtype.numpy)
        if dtype == "i8"
        else rng.standard_normal(s).astype(t.dtype.numpy)
        for s, t in zip(shapes, inputs, strict=True)
    ]
    wanted = torch_conv(case, arrays)
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True) if o is not None]
    provider = CpuConvTransposeNarrow()
    for tactic in provider.propose(work, isa, 1):
        (y,) = run_image(provider.build(work, tactic, isa), given, work.outputs, isa, sizes, split=3)
        loose = 0 if dtype == "i8" else 1e-4
        np.testing.assert_allclose(
            y.astype(np.float64), wanted, atol=loose, rtol=loose, err_msg=tactic.text()
        )


def test_outputs_without_taps_are_refused():
    inputs = (last(1, 8, 5, 6, dtype="bf16"), rows(8, 12, 1, 2, dtype="bf16"))
    work = Case(ConvTranspose((3, 3), out_dtype=dtypes.f32), inputs).workload()
    with pytest.raises(NoTactic, match="no tap reaches"):
        CpuConvTransposeNarrow().propose(work, AVX512, 0)
