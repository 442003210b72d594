"""Products of rows that are normalised on the way, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.matmul import CudaMatMul
from engineworks.kernels.cuda.matmul_corrections import keeps_blocks
from engineworks.kernels.cuda.matmul_tiling import TileConfig
from engineworks.kernels.tactic import Tactic
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.normalised_matmul import NormalisedMatMul
from engineworks.testing.gpu_kernels import compile_image, interpret_image
from tests.unit.kernels.cuda.matmul_case import tensor

PROVIDER, GPU = CudaMatMul(), gpu_of("sm_90")


def normalised(a: TensorType, b: TensorType, *, rows_too: bool = False, constant: bool = True) -> Workload:
    out = TensorType(a.dtype, (*a.shape[:-1], b.shape[-1]))
    outputs = (out, TensorType(a.dtype, a.shape)) if rows_too else (out,)
    return Workload(NormalisedMatMul(), (Operand(a), Operand(b, constant)), 2, outputs)


def check(work: Workload, config: TileConfig, rows: int, mean: float = 0.5) -> None:
    a, b = work.inputs[0].type, work.inputs[1].type  # type: ignore[union-attr]
    rng = np.random.default_rng(0)
    x = rng.normal(mean, 1, (*a.shape[:-2], rows, a.shape[-1])).astype(a.dtype.numpy)
    w = rng.uniform(-1, 1, b.shape).astype(b.dtype.numpy)
    image = PROVIDER.build(work, Tactic(PROVIDER.name, config), GPU)
    got = interpret_image(image, [(x, a), (w, b)], work.outputs, {"N": rows})
    wide = x.astype(np.float64)
    wide = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    tolerance = {"f16": 2e-3, "bf16": 1e-2, "f32": 1e-5}[a.dtype.name] * (1 + abs(mean))
    scale = np.abs(wide) @ np.abs(w.astype(np.float64))
    assert (np.abs(got[0].astype(np.float64) - wide @ w.astype(np.float64)) <= tolerance * scale).all()
    if len(got) > 1:
        np.testing.assert_allclose(got[1].astype(np.float64), wide, rtol=tolerance, atol=tolerance)


FORMS = {
    "plain": TileConfig(16, 32, 32),
    "mapped": TileConfig(16, 16, 32, maps=True),
    "persistent": TileConfig(16, 16, 16, maps=True, persistent=True),
    "turned": TileConfig(16, 64, 16, turned=True),
    "large blocks": TileConfig(64, 16, 128),
    "large blocks, turned": TileConfig(16, 64, 512, turned=True),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depth", [64, 40])
def test_rows_of_mean_0_and_variance_1_are_multiplied(form: str, depth: int) -> None:
    work = normalised(tensor(dtypes.f16, 2, 17, depth), tensor(dtypes.f16, depth, 33), rows_too=True)
    check(work, FORMS[form], 17)


@pytest.mark.parametrize("dtype", [dtypes.bf16, dtypes.f32], ids=str)
def test_other_floats(dtype: DType) -> None:
    precision = "ieee" if dtype is dtypes.f32 else ""
    work = normalised(tensor(dtype, 9, 24), tensor(dtype, 24, 16), rows_too=True)
    check(work, TileConfig(16, 16, 16, precision=precision), 9)


def test_a_mean_far_from_zero_costs_no_digits_of_the_variance() -> None:
    work = normalised(tensor(dtypes.f32, 16, 64), tensor(dtypes.f32, 64, 16))
    check(work, TileConfig(16, 16, 32, precision="ieee"), 16, mean=300.0)


def test_rows_known_at_run_time() -> None:
    work = normalised(tensor(dtypes.f16, symbol("N", 1, 512), 64), tensor(dtypes.f16, 64, 16), rows_too=True)
    for rows in (1, 18):
        check(work, FORMS["plain"], rows)


def test_its_candidates_compile() -> None:
    work = normalised(tensor(dtypes.f16, 128, 768), tensor(dtypes.f16, 768, 3072), rows_too=True)
    found = list(PROVIDER.propose(work, GPU, 3))
    assert len(found) == 16
    for tactic in found[:3]:
        compile_image(PROVIDER.build(work, tactic, GPU), GPU)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_moments_compile_where_blocks_of_them_are_kept_and_where_they_are_not(arch: str) -> None:
    gpu = gpu_of(arch)
    work = normalised(tensor(dtypes.f16, 197, 768), tensor(dtypes.f16, 768, 2304))
    found = {keeps_blocks(t.config): t for t in PROVIDER.propose(work, gpu, 5)}  # type: ignore[arg-type]
    assert set(found) == {True, False}
    for tactic in found.values():
        compile_image(PROVIDER.build(work, tactic, gpu), gpu)


def test_other_rows_are_refused() -> None:
    for work in (
        normalised(tensor(dtypes.f16, 9, 24), tensor(dtypes.f16, 24, 16), constant=False),
        normalised(tensor(dtypes.f16, 9, 24, order=(1, 0)), tensor(dtypes.f16, 24, 16)),
    ):
        with pytest.raises(NoTactic, match="normalised"):
            list(PROVIDER.propose(work, GPU, 0))
