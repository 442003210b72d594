"""1x1 convolutions by the matmul families, in Triton's interpreter, against torch in float64."""

import pytest

from engineworks.codegen.triton.function import KernelFunction
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.conv_pointwise import CudaConvPointwise, product_of
from engineworks.ops.conv import Conv
from tests.unit.kernels.conv_case import last, rows
from tests.unit.kernels.cuda.conv_gpu_case import H200, GpuCase, check

N, H, W = symbol("N", 1, 4), symbol("H", 1, 64), symbol("W", 1, 64)
SIZES = {"N": 2, "H": 5, "W": 4}
CASES = {
    "everything behind it": GpuCase(
        Conv(), last(2, 64, 5, 6), (48, 64, 1, 1), ends=("bias", "scale", "residual", "relu")
    ),
    "dynamic": GpuCase(
        Conv(), last(N, 64, H, W), (48, 64, 1, 1), ("bf16", "bf16", None), ("bias", "residual"), dims=SIZES
    ),
    "17 channels of f32": GpuCase(
        Conv(), last(N, 17, H, W), (5, 17, 1, 1), ("f32", "f32", None), ("bias",), dims=SIZES
    ),
    "bytes": GpuCase(Conv(), last(N, 64, H, W), (32, 64, 1, 1), ("u8", "i8", "i32"), ("bias",), dims=SIZES),
    "filters of the run": GpuCase(Conv(), last(1, 32, 3, 5), (32, 32, 1, 1), ends=("bias",), constant=False),
    "one axis": GpuCase(Conv(), last(1, 32, 7), (32, 32, 1), ends=("bias",)),
}


@pytest.mark.parametrize("name", CASES)
def test_pointwise_convolution_equals_torch(name):
    work, provider = CASES[name].workload(), CudaConvPointwise()
    ours = [
        tactic
        for tactic in provider.propose(work, H200, 1)
        if all(isinstance(f, KernelFunction) for f in provider.build(work, tactic, H200).functions.values())
    ]
    check(provider, CASES[name], ours[:3])


def test_pixels_are_rows_and_the_bias_is_part_of_the_epilogue():
    product = product_of(CASES["everything behind it"].workload())
    assert product.work.outputs[0].shape == (60, 48)
    assert product.work.epilogue.kinds == ("channel", "full", "channel")
    assert product.inputs == (0, 1, 3, 4, 2)


@pytest.mark.parametrize(
    "case",
    [
        GpuCase(Conv((2, 2)), last(1, 32, 6, 6), (32, 32, 1, 1)),
        GpuCase(Conv(pads=(1, 1, 1, 1)), last(1, 32, 6, 6), (32, 32, 1, 1)),
        GpuCase(Conv(), rows(1, 32, 6, 6), (32, 32, 1, 1)),
        GpuCase(Conv(groups=2), last(1, 32, 6, 6), (32, 16, 1, 1)),
    ],
    ids=["strided", "padded", "row-major", "groups"],
)
def test_windows_that_are_not_pixels_are_refused(case):
    with pytest.raises(NoTactic):
        CudaConvPointwise().propose(case.workload(), H200, 3)
