"""The product of any element types and layouts against numpy."""

from __future__ import annotations

import pytest

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.matmul_generic import CudaMatMulGeneric
from engineworks.testing.gpu_kernels import compile_image
from tests.unit.kernels.cuda.matmul_case import check, finished, product, tensor

PROVIDER, GPU = CudaMatMulGeneric(), gpu_of("sm_90")


def first(work: object) -> list:
    return list(PROVIDER.propose(work, GPU, 5))[:1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "dtype",
    [d for d in dtypes.ALL if d.kind in ("int", "uint", "float") and d.bits >= 8 and d.name[:2] != "f8"],
    ids=str,
)
def test_every_dtype(dtype: DType) -> None:
    work = product(tensor(dtype, 2, 3, 9), tensor(dtype, 9, 37))
    check(work, PROVIDER, first(work), GPU)
    for arch in ("sm_80", "sm_90", "sm_100"):
        compile_image(PROVIDER.build(work, first(work)[0], GPU), gpu_of(arch))


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 2, 0)])
def test_any_layout_and_symbolic_sizes(order: tuple[int, ...]) -> None:
    B, M, K, N = (symbol(s) for s in "BMKN")
    a, b = tensor(dtypes.f32, B, M, K, order=(2, 0, 1)), tensor(dtypes.f32, B, K, N, order=(0, 2, 1))
    work = finished(product(a, b, out_order=order))
    check(work, PROVIDER, first(work), GPU, B=2, M=3, K=4, N=5)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 5, 1), (3, 0, 4), (40, 2, 33), (1, 3, 140), (140, 3, 1)])
def test_awkward_sizes(m: int, k: int, n: int) -> None:
    work = finished(product(tensor(dtypes.i32, m, k), tensor(dtypes.i32, k, n)))
    check(work, PROVIDER, list(PROVIDER.propose(work, GPU, 5)), GPU)


def test_operands_of_two_dtypes() -> None:
    pairs = (
        (dtypes.f32, dtypes.bf16),
        (dtypes.f32, dtypes.i8),
        (dtypes.u8, dtypes.f32),
        (dtypes.f16, dtypes.bf16),
    )
    for left, right in pairs:
        work = product(tensor(left, 5, 6), tensor(right, 6, 7), out_dtype=dtypes.f32)
        check(work, PROVIDER, first(work), GPU)


def test_types_that_no_kernel_loads_are_refused() -> None:
    work = product(tensor(dtypes.i4, 2, 3), tensor(dtypes.i4, 3, 4))
    with pytest.raises(NoTactic, match="i4"):
        first(work)
    work = product(tensor(dtypes.f8e4m3, 2, 3), tensor(dtypes.f8e4m3, 3, 4))
    with pytest.raises(NoTactic, match="sm_80"):
        list(PROVIDER.propose(work, gpu_of("sm_80"), 0))
