"""Transposed convolutions for GPUs, in Triton's interpreter, against torch in float64."""

import pytest

from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.conv_transpose import CudaConvTranspose, phases_of
from engineworks.ops.conv_transpose import ConvTranspose
from tests.unit.kernels.conv_case import last
from tests.unit.kernels.cuda.conv_gpu_case import H200, GpuCase, check

N, H, W = symbol("N", 1, 4), symbol("H", 1, 64), symbol("W", 1, 64)
SIZES = {"N": 2, "H": 3, "W": 4}
ONE = (1, 1, 1, 1)
CASES = {
    "2x2 apart": GpuCase(
        ConvTranspose((2, 2)), last(2, 32, 3, 4), (32, 24, 2, 2), ends=("bias", "scale", "residual", "relu")
    ),
    "2x2 apart, dynamic": GpuCase(ConvTranspose((2, 2)), last(N, 32, H, W), (32, 17, 2, 2), dims=SIZES),
    "apart, groups": GpuCase(ConvTranspose((2, 2), groups=2), last(1, 32, 3, 4), (32, 9, 2, 2), ends=("bias",)),
    "4x4 overlapping": GpuCase(ConvTranspose((2, 2), ONE), last(1, 32, 5, 4), (32, 24, 4, 4), ends=("bias", "relu")),
    "3x3 with output padding, dynamic": GpuCase(
        ConvTranspose((2, 2), ONE, output_padding=(1, 1)), last(N, 16, H, W), (16, 24, 3, 3), ends=("bias",), dims=SIZES
    ),
    "strides, dilations and groups": GpuCase(
        ConvTranspose((2, 2), (1, 0, 1, 1), (1, 2), 2, (1, 0)), last(2, 16, 4, 5), (16, 9, 3, 3), ("f32", "f32", None),
        ("bias", "relu"),
    ),
    "gaps between windows": GpuCase(
        ConvTranspose((3, 2), (0,) * 4), last(1, 16, 4, 5), (16, 8, 2, 2), ("bf16", "bf16", None), ("bias",)
    ),
    "one axis": GpuCase(ConvTranspose(dilations=(2,)), last(1, 16, 6), (16, 8, 3), ("f16", "f16", "f32")),
    "bytes": GpuCase(ConvTranspose((2, 2), ONE), last(1, 16, 4, 4), (16, 9, 4, 4), ("u8", "i8", "i32"), ("bias",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_transposed_convolution_equals_torch(name):
    check(CudaConvTranspose(), CASES[name])


def test_kernels_compile_for_every_architecture():
    check(CudaConvTranspose(), CASES["2x2 apart"], compiled=True)
    check(CudaConvTranspose(), CASES["strides, dilations and groups"], compiled=True)


def test_windows_that_lie_side_by_side_are_one_product():
    assert len(phases_of(CASES["2x2 apart"].workload())) == 1
    assert len(phases_of(CASES["4x4 overlapping"].workload())) == 4


def test_filters_of_the_run_are_refused_with_a_reason():
    case = CASES["2x2 apart"]
    with pytest.raises(NoTactic, match="known when the engine is built"):
        CudaConvTranspose().propose(
            GpuCase(case.op, case.x, case.filters, constant=False).workload(), H200, 3
        )
