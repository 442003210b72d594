"""Depthwise convolutions for GPUs, in Triton's interpreter, against torch in float64."""

import pytest

from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.depthwise import CudaDepthwise
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose
from tests.unit.kernels.conv_case import last, rows
from tests.unit.kernels.cuda.conv_gpu_case import H200, GpuCase, check

N, H, W = symbol("N", 1, 4), symbol("H", 1), symbol("W", 1)
SIZES = {"N": 2, "H": 5, "W": 4}
ONE = (1, 1, 1, 1)
F32 = ("f32", "f32", None)
CASES = {
    "3x3": GpuCase(
        Conv(pads=ONE, groups=40), last(2, 40, 5, 6), (40, 1, 3, 3), ends=("bias", "scale", "residual", "relu")
    ),
    "two outputs a channel": GpuCase(
        Conv((2, 2), ONE, groups=5), last(N, 5, H, W), (10, 1, 3, 3), F32, constant=False, dims=SIZES
    ),
    "one axis": GpuCase(Conv(pads=(4, 4), groups=20), last(2, 20, 23), (20, 1, 9), ("bf16", "bf16", "f32")),
    "row-major": GpuCase(Conv(pads=ONE, groups=6), rows(1, 6, 7, 9), (6, 1, 3, 3), F32, ("bias",), out_last=False),
    "bytes": GpuCase(Conv(pads=ONE, groups=17), last(1, 17, 4, 5), (17, 1, 3, 3), ("u8", "i8", "i32"), ("bias",)),
    "doubles": GpuCase(Conv(groups=5), last(1, 5, 4, 5), (5, 1, 3, 3), ("f64", "f64", None)),
    "transposed": GpuCase(
        ConvTranspose((2, 2), ONE, groups=5), last(N, 5, H, W), (5, 1, 3, 3), ("f16", "f16", "f32"), dims=SIZES
    ),
    "11x11": GpuCase(Conv(pads=(5, 5, 5, 5), groups=8), last(1, 8, 4, 4), (8, 1, 11, 11), F32),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_depthwise_equals_torch(name):
    check(CudaDepthwise(), CASES[name])


@pytest.mark.parametrize("name", ["3x3", "doubles", "transposed"])
def test_kernels_compile_for_every_architecture(name):
    check(CudaDepthwise(), CASES[name], compiled=True)


def test_groups_of_several_channels_are_refused_with_a_reason():
    with pytest.raises(NoTactic, match="not depthwise"):
        CudaDepthwise().propose(GpuCase(Conv(groups=2), last(1, 16, 4, 4), (16, 8, 3, 3)).workload(), H200, 3)
