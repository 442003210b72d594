"""Library calls on a GPU, against float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engineworks.codegen.triton.gpu import GPUS, Gpu, gpu_of
from engineworks.core import dtypes
from engineworks.engine.library_calls import with_version
from engineworks.errors import EngineMismatch, MissingExtra
from engineworks.ir.scalar import apply, argument, const
from engineworks.kernels.cuda.attention_cudnn import CudnnAttention
from engineworks.kernels.cuda.conv_cublaslt import CublasltConv
from engineworks.kernels.cuda.conv_cudnn import CudnnConv
from engineworks.kernels.cuda.library_proposals import Proposal
from engineworks.kernels.cuda.matmul_cublaslt import CublasltMatmul
from engineworks.kernels.tactic import KernelImage, LibraryCall, Tactic
from engineworks.ops.conv import Conv
from engineworks.ops.matmul import MatMul
from engineworks.runtime.cuda import libraries
from engineworks.runtime.cuda.driver import CudaDriver, driver_of
from tests.gpu.library_run import OnGpu
from tests.unit.kernels.cuda import attention_library_cases, conv_library_cases, matmul_library_cases
from tests.unit.kernels.cuda.library_case import Case, tensor

pytestmark = pytest.mark.gpu
F16 = dtypes.f16


@pytest.fixture(scope="module")
def driver() -> CudaDriver:
    try:
        return driver_of(0)
    except (EngineMismatch, MissingExtra) as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def gpu(driver: CudaDriver) -> Gpu:
    return gpu_of(driver.facts.arch if driver.facts.arch in GPUS else "sm_90")


def product(case: Case, gpu: Gpu, proposal: int = 0) -> KernelImage:
    provider = CublasltMatmul() if isinstance(case.op, MatMul) else CublasltConv()
    return provider.build(case.work, Tactic(provider.name, Proposal(proposal)), gpu)


@pytest.mark.parametrize(
    "case", [*matmul_library_cases.CASES, *conv_library_cases.PIXELS], ids=lambda c: c.name
)
def test_cublaslt_computes_the_product(case: Case, driver: CudaDriver, gpu: Gpu) -> None:
    run = OnGpu(driver, case, product(case, gpu))
    case.check(run.result(captured=False), case.arrays())
    case.check(run.result(captured=True), case.arrays())


@pytest.mark.parametrize("proposal", [1, 2, 5, 15])
def test_every_proposal_of_cublaslt_computes_the_product(proposal: int, driver: CudaDriver, gpu: Gpu) -> None:
    for case in matmul_library_cases.CASES:
        run = OnGpu(driver, case, product(case, gpu, proposal))
        case.check(run.result(captured=False), case.arrays())


def test_cublaslt_is_captured_without_a_launch_before(driver: CudaDriver, gpu: Gpu) -> None:
    rows = 1000  # a shape that no other test has loaded code for
    case = Case(
        "new shape",
        MatMul(),
        [tensor("f16", rows, 520), tensor("f16", 520, 328)],
        tensor("f16", rows, 328),
        np.matmul,
    )
    case.check(OnGpu(driver, case, product(case, gpu)).result(captured=True), case.arrays())


def test_one_call_of_cublaslt_serves_many_shapes(driver: CudaDriver, gpu: Gpu) -> None:
    source = next(c for c in matmul_library_cases.CASES if c.dims and c.kinds)
    for rows in (1, 7, 512, 7):
        case = Case(**{**vars(source), "dims": {"M": rows}})
        case.check(OnGpu(driver, case, product(case, gpu)).result(captured=False), case.arrays())


def test_relu_of_cublaslt_keeps_nan(driver: CudaDriver, gpu: Gpu) -> None:
    class WithNan(Case):
        def arrays(self) -> list[np.ndarray | None]:
            found = super().arrays()
            assert found[0] is not None
            found[0][3, 5] = np.nan
            return found

    end = apply("max", argument(0, F16), const(0, F16))
    inputs = [tensor("f16", 16, 64), tensor("f16", 64, 32)]
    case = WithNan("nan", MatMul(), inputs, tensor("f16", 16, 32), np.matmul, end)
    result = OnGpu(driver, case, product(case, gpu)).result(captured=False)
    assert np.isnan(result[3]).all(), f"row 3 multiplies a NaN, and is {result[3]}"
    assert not np.isnan(result[4]).any()


def test_another_version_of_the_library_is_refused(driver: CudaDriver, gpu: Gpu) -> None:
    (call,) = product(matmul_library_cases.CASES[0], gpu).functions.values()
    assert isinstance(call, LibraryCall)
    with pytest.raises(
        EngineMismatch, match=f"tuned with cublaslt 1; here is {libraries.version('cublaslt')}"
    ):
        libraries.prepare("cublaslt", with_version(call.parameters, "1"), driver)


# -- cuDNN
def convolution(case: Case, gpu: Gpu, proposal: int = 0) -> KernelImage:
    return CudnnConv().build(case.work, Tactic("cuda.cudnn_conv", Proposal(proposal)), gpu)


@pytest.mark.parametrize("case", conv_library_cases.CASES, ids=lambda c: c.name)
def test_cudnn_computes_the_convolution(case: Case, driver: CudaDriver, gpu: Gpu) -> None:
    run = OnGpu(driver, case, convolution(case, gpu))
    case.check(run.result(captured=False), case.arrays())
    case.check(run.result(captured=True), case.arrays())


@pytest.mark.parametrize("proposal", [1, 3, 7])
def test_every_proposal_of_cudnn_computes_the_convolution(
    proposal: int, driver: CudaDriver, gpu: Gpu
) -> None:
    for case in conv_library_cases.CASES[:8]:
        run = OnGpu(driver, case, convolution(case, gpu, proposal))
        case.check(run.result(captured=False), case.arrays())


def test_cudnn_is_captured_without_a_launch_before(driver: CudaDriver, gpu: Gpu) -> None:
    inputs = [conv_library_cases.last("f16", 3, 40, 23, 19), tensor("f16", 56, 40, 3, 3)]
    case = conv_library_cases.case("new shape", Conv(pads=(1, 1, 1, 1)), inputs)
    case.check(OnGpu(driver, case, convolution(case, gpu)).result(captured=True), case.arrays())


def test_a_plan_that_was_written_down_computes_the_convolution(driver: CudaDriver, gpu: Gpu) -> None:
    case = next(c for c in conv_library_cases.CASES if c.kinds and not c.dims)
    image = convolution(case, gpu)
    first = OnGpu(driver, case, image)
    text = libraries.prepare("cudnn", first.call.parameters, driver).pinned(first.words)
    ((symbol, _),) = image.functions.items()
    again = OnGpu(driver, case, replace(image, functions={symbol: LibraryCall("cudnn", text)}))
    assert '"plan":' in again.call.parameters
    case.check(again.result(captured=False), case.arrays())


def attention(case: Case, gpu: Gpu, proposal: int = 0) -> KernelImage:
    return CudnnAttention().build(case.work, Tactic("cuda.cudnn_attention", Proposal(proposal)), gpu)


@pytest.mark.parametrize("case", attention_library_cases.CASES, ids=lambda c: c.name)
def test_cudnn_computes_the_attention(case: Case, driver: CudaDriver, gpu: Gpu) -> None:
    run = OnGpu(driver, case, attention(case, gpu))
    case.check(run.result(captured=False), case.arrays())
    case.check(run.result(captured=True), case.arrays())


def test_every_proposal_of_cudnn_computes_the_attention(driver: CudaDriver, gpu: Gpu) -> None:
    for proposal in (1, 2, 3):
        for case in attention_library_cases.CASES[:3]:
            run = OnGpu(driver, case, attention(case, gpu, proposal))
            case.check(run.result(captured=False), case.arrays())
