"""Depthwise kernels against torch."""

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.depthwise import CpuDepthwise, DepthwiseConfig
from engineworks.kernels.tactic import Tactic
from engineworks.ops.conv import Conv
from tests.unit.kernels.conv_case import Case, last, rows, run, torch_conv

N, H, W = symbol("N", 1, 4), symbol("H", 1, 64), symbol("W", 1, 64)
ONE = (1, 1, 1, 1)
CASES = {
    "3x3": Case(Conv(pads=ONE, groups=40), (last(2, 40, 9, 10), rows(40, 1, 3, 3), rows(40)), relu=True),
    "stride 2, uneven padding": Case(
        Conv((2, 2), (0, 1, 1, 2), groups=32),
        (last(1, 32, 11, 10, pad=16), rows(32, 1, 3, 3), rows(32)),
        residual=True,
    ),
    "5x5": Case(Conv(pads=(2, 2, 2, 2), groups=24), (last(1, 24, 12, 11), rows(24, 1, 5, 5))),
    "dilated": Case(
        Conv(pads=(2, 2, 2, 2), dilations=(2, 2), groups=24), (last(1, 24, 12, 11), rows(24, 1, 3, 3))
    ),
    "one axis, run-time filters": Case(
        Conv(pads=(4, 4), groups=20), (last(2, 20, 23), rows(20, 1, 9), rows(20)), constant=False
    ),
    "11x11": Case(Conv(pads=(5, 5, 5, 5), groups=16), (last(1, 16, 14, 14), rows(16, 1, 11, 11), rows(16))),
}
DYNAMIC = {
    "3x3": Case(Conv(pads=ONE, groups=24), (last(N, 24, H, W), rows(24, 1, 3, 3), rows(24)), residual=True),
    "5x5 stride 2": Case(
        Conv((2, 2), (2, 2, 2, 2), groups=16), (last(N, 16, H, W), rows(16, 1, 5, 5), rows(16))
    ),
    "batch only": Case(Conv(pads=ONE, groups=24), (last(N, 24, 7, 8), rows(24, 1, 3, 3), rows(24))),
}


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize("name", CASES)
def test_depthwise_equals_torch(name, isa):
    tactics = [
        *CpuDepthwise().propose(CASES[name].workload(), isa, 3),
        *(Tactic("cpu.depthwise", DepthwiseConfig(1, width, "rows")) for width in (1, 4)),
    ]
    for tactic, arrays, (y,) in run(CpuDepthwise(), CASES[name], isa, tactics):
        np.testing.assert_allclose(
            y, torch_conv(CASES[name], arrays), atol=2e-5, rtol=1e-4, err_msg=tactic.text()
        )


@pytest.mark.parametrize(
    "dims", [{"N": 1, "H": 9, "W": 23}, {"N": 2, "H": 6, "W": 5}, {"N": 1, "H": 1, "W": 2}], ids=str
)
@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_depthwise_equals_torch(name, dims):
    case = DYNAMIC[name]
    sized = Case(case.op, case.inputs, case.residual, dims=dims)
    for tactic, arrays, (y,) in run(CpuDepthwise(), sized, AVX512):
        np.testing.assert_allclose(y, torch_conv(sized, arrays), atol=2e-5, rtol=1e-4, err_msg=tactic.text())


def test_grouped_convolution_is_refused():
    with pytest.raises(NoTactic, match="not depthwise"):
        CpuDepthwise().propose(
            Case(Conv(groups=2), (last(1, 16, 9, 9), rows(16, 8, 3, 3))).workload(), AVX512, 3
        )
