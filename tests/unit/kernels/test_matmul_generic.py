"""The matmul of any dtype and layout against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.dtypes import DType
from engineworks.core.types import Layout, TensorType
from engineworks.ir.scalar import argument, cast
from engineworks.kernels.cpu.matmul_generic import CpuMatMulGeneric
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.testing.kernels import run_image

ISAS = pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
TOLERANCE = {"f64": 1e-14, "f32": 1e-6, "f16": 2e-3, "bf16": 1e-2}


def run(work: Workload, arrays: list[np.ndarray], isa: Isa, **dims: int) -> np.ndarray:
    (tactic,) = CpuMatMulGeneric().propose(work, isa, 3)
    image = CpuMatMulGeneric().build(work, tactic, isa)
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True)]
    return run_image(image, given, work.outputs, isa, dims, split=2)[0]


@ISAS
@pytest.mark.parametrize(
    "dtype",
    [d for d in dtypes.ALL if d.kind in ("int", "uint", "float") and d.bits >= 8 and d.name[:2] != "f8"],
    ids=str,
)
def test_every_dtype(isa: Isa, dtype: DType) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 9, s).astype(dtype.numpy) for s in ((2, 5, 20), (20, 37))]
    if dtype.is_float:
        arrays = [rng.uniform(-1, 1, a.shape).astype(dtype.numpy) for a in arrays]
    types = [TensorType(dtype, a.shape) for a in arrays]
    work = Workload(MatMul(), tuple(Operand(t) for t in types), 2, MatMul().infer(*types))
    got = run(work, arrays, isa)
    expected = np.matmul(*[a.astype(np.float64) for a in arrays]) if dtype.is_float else np.matmul(*arrays)
    if dtype.is_float:
        scale = np.matmul(*[np.abs(a.astype(np.float64)) for a in arrays])
        assert (np.abs(got.astype(np.float64) - expected) <= TOLERANCE[dtype.name] * scale).all()
    else:
        np.testing.assert_array_equal(got, expected)


@ISAS
@pytest.mark.parametrize("out_order", [(0, 1, 2), (0, 2, 1), (1, 2, 0)])
def test_any_layout_and_symbolic_sizes(isa: Isa, out_order: tuple[int, ...]) -> None:
    B, M, K, N = (symbol(s) for s in "BMKN")
    a = TensorType(dtypes.f32, (B, M, K)).with_layout(Layout((2, 0, 1)))
    b = TensorType(dtypes.f32, (B, K, N)).with_layout(Layout((0, 2, 1)))
    (out,) = MatMul().infer(a, b)
    work = Workload(MatMul(), (Operand(a), Operand(b)), 2, (out.with_layout(Layout(out_order)),))
    rng = np.random.default_rng(0)
    x, y = (
        rng.standard_normal((2, 3, 4)).astype(np.float32),
        rng.standard_normal((2, 4, 5)).astype(np.float32),
    )
    np.testing.assert_allclose(
        run(work, [x, y], isa, B=2, M=3, K=4, N=5), x.astype(np.float64) @ y, rtol=1e-5, atol=1e-5
    )


@ISAS
@pytest.mark.parametrize("layout", [None, Layout((1, 0))])
def test_epilogue_along_the_innermost_axis(isa: Isa, layout: Layout | None) -> None:
    f64, f32 = dtypes.f64, dtypes.f32
    a, b = TensorType(f64, (6, 7)), TensorType(f64, (7, 21))
    out = TensorType(f32, (6, 21)).with_layout(layout)
    bias = TensorType(f64, (6 if layout else 21,))
    epilogue = Epilogue(cast(argument(0, f64) + argument(1, f64), f32), ("channel",))
    work = Workload(MatMul(), (Operand(a), Operand(b), Operand(bias)), 2, (out,), epilogue)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(t.shape) for t in (a, b, bias)]
    expected = arrays[0] @ arrays[1] + (arrays[2][:, None] if layout else arrays[2])
    np.testing.assert_allclose(run(work, arrays, isa), expected, rtol=1e-6)
