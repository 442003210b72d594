"""Products of a few rows against numpy, in the interpreter."""

from __future__ import annotations

import pytest

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.matmul_rows import CudaMatMulRows, RowsConfig
from engineworks.kernels.tactic import Tactic
from engineworks.testing.gpu_kernels import compile_image
from tests.unit.kernels.cuda.matmul_case import check, finished, product, tensor

PROVIDER, GPU = CudaMatMulRows(), gpu_of("sm_90")


def tactic(columns: int, depth: int) -> Tactic:
    return Tactic(PROVIDER.name, RowsConfig(columns, depth, 4))


@pytest.mark.parametrize("constant", [True, False], ids=["packed", "in place"])
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 300, 17), (3, 128, 8), (8, 33, 5), (2, 0, 3), (1, 1, 1), (4, 260, 40)]
)
def test_few_rows(m: int, k: int, n: int, constant: bool) -> None:
    work = finished(product(tensor(dtypes.f16, m, k), tensor(dtypes.f16, k, n), constant=constant))
    check(work, PROVIDER, [tactic(8, 128)], GPU)


@pytest.mark.parametrize(
    "dtype", [dtypes.f64, dtypes.f32, dtypes.bf16, dtypes.i32, dtypes.i64, dtypes.u8], ids=str
)
def test_every_dtype_compiles_everywhere(dtype: DType) -> None:
    out = dtypes.i32 if dtype is dtypes.u8 else None
    work = product(tensor(dtype, 2, 200), tensor(dtype, 200, 9), constant=True, out_dtype=out)
    check(work, PROVIDER, [tactic(4, 128)], GPU)
    for arch in ("sm_80", "sm_90", "sm_100"):
        gpu = gpu_of(arch)
        compile_image(PROVIDER.build(work, next(iter(PROVIDER.propose(work, gpu, 0))), gpu), gpu)


def test_weights_of_fewer_bytes() -> None:
    for narrow in (dtypes.i8, dtypes.bf16, dtypes.f16):
        work = product(
            tensor(dtypes.f32, 1, 130), tensor(narrow, 130, 9), constant=True, out_dtype=dtypes.f32
        )
        check(work, PROVIDER, [tactic(4, 128)], GPU)


def test_batches_and_sizes_known_at_run_time() -> None:
    B, K, N = symbol("B"), symbol("K", 0), symbol("N")
    work = finished(product(tensor(dtypes.f32, B, 2, K), tensor(dtypes.f32, B, K, N, order=(0, 2, 1))))
    for k in (0, 128, 150):
        check(work, PROVIDER, [tactic(4, 128)], GPU, B=2, K=k, N=5)


def test_matrix_times_vector() -> None:
    work = finished(product(tensor(dtypes.f16, 50, 40), tensor(dtypes.f16, 40, 1)))
    check(work, PROVIDER, list(PROVIDER.propose(work, GPU, 1)), GPU)


def test_many_rows_are_refused() -> None:
    work = product(tensor(dtypes.f16, 9, 40), tensor(dtypes.f16, 40, 8))
    with pytest.raises(NoTactic, match="at most 8"):
        list(PROVIDER.propose(work, GPU, 3))
