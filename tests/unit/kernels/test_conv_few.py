"""Convolutions with few outputs against torch."""

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_direct import CpuConvDirect
from engineworks.kernels.cpu.conv_few import CpuConvFew
from engineworks.kernels.cpu.conv_loops import CpuConvLoops
from engineworks.kernels.cpu.conv_transpose import CpuConvTranspose
from engineworks.kernels.cpu.depthwise import CpuDepthwise
from engineworks.kernels.cpu.pool import CpuPool
from engineworks.kernels.cpu.pool_loops import CpuPoolLoops
from engineworks.kernels.cpu.winograd import CpuWinograd
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose
from tests.unit.kernels.conv_case import Case, last, rows, run, torch_conv

FAMILIES = (
    CpuConvFew(),
    CpuConvDirect(),
    CpuConvTranspose(),
    CpuConvLoops(),
    CpuDepthwise(),
    CpuWinograd(),
    CpuPool(),
    CpuPoolLoops(),
)
N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
SIZES = {"N": 2, "H": 9, "W": 27}
ONE = (1, 1, 1, 1)
CASES = {
    "one output": Case(Conv(), (last(2, 24, 9, 23), rows(1, 24, 1, 1), rows(1)), residual=True, relu=True),
    "three outputs, strided": Case(Conv((2, 1), ONE), (last(2, 20, 9, 23), rows(3, 20, 3, 3), rows(3))),
    "planes": Case(Conv(pads=ONE), (rows(2, 3, 9, 23), rows(3, 3, 5, 3), rows(3))),
    "dynamic 1x1": Case(Conv(), (last(N, 24, H, W), rows(1, 24, 1, 1), rows(1)), dims=SIZES),
    "dynamic 3x3": Case(
        Conv(pads=ONE), (last(N, 24, H, W), rows(2, 24, 3, 3), rows(2)), residual=True, dims=SIZES
    ),
    "one axis": Case(Conv(pads=(1, 1)), (last(2, 24, 30), rows(2, 24, 3), rows(2))),
    "three axes": Case(Conv(), (last(1, 4, 5, 6, 7), rows(2, 4, 2, 3, 3))),
    "transposed": Case(
        ConvTranspose((2, 2)), (last(2, 24, 9, 23), rows(24, 1, 2, 2), rows(1)), residual=True
    ),
    "transposed 3x2": Case(ConvTranspose((3, 2)), (last(2, 20, 9, 23), rows(20, 3, 3, 2), rows(3))),
    "transposed, dynamic planes": Case(
        ConvTranspose((2, 2)), (rows(N, 24, H, W), rows(24, 1, 2, 2), rows(1)), dims=SIZES
    ),
}


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize("name", CASES)
def test_few_outputs_equal_torch(name, isa):
    for _, arrays, (y,) in run(CpuConvFew(), CASES[name], isa):
        np.testing.assert_allclose(y, torch_conv(CASES[name], arrays), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("provider", FAMILIES, ids=lambda p: p.name)
def test_work_of_other_kinds_is_refused(provider):
    from engineworks.ops.relu import Relu

    for anchor in (None, Relu()):
        x = last(1, 16, 9, 9)
        with pytest.raises(NoTactic):
            provider.propose(Workload(anchor, (Operand(x),), 1, (x,)), AVX512, 3)


def test_many_outputs_are_refused():
    with pytest.raises(NoTactic, match="not few"):
        CpuConvFew().propose(Case(Conv(), (last(1, 16, 9, 9), rows(8, 16, 3, 3))).workload(), AVX512, 3)
