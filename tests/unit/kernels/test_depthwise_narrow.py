"""Depthwise convolutions of bf16, f16 and bytes, on both instruction sets."""

import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.depthwise import CpuDepthwise
from engineworks.ops.conv import Conv
from tests.unit.kernels.narrow_case import NarrowCase, check, narrow

N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)

CASES = {
    "3x3": NarrowCase(Conv(pads=(1, 1, 1, 1), groups=24), narrow(2, 24, 9, 10), (24, 1, 3, 3), quantised=True),
    "5x5 with stride and bias": NarrowCase(
        Conv((2, 2), (2, 2, 2, 2), groups=17), narrow(1, 17, 11, 12), (17, 1, 5, 5), bias=True
    ),
    "dilated": NarrowCase(Conv((1, 2), (2, 3, 2, 3), (2, 3), 40), narrow(1, 40, 12, 13), (40, 1, 3, 3)),
    "one axis": NarrowCase(Conv(pads=(2, 1), groups=33), narrow(1, 33, 19), (33, 1, 4), quantised=True),
    "dynamic": NarrowCase(
        Conv(pads=(1, 1, 1, 1), groups=20), narrow(N, 20, H, W), (20, 1, 3, 3), quantised=True,
        dims={"N": 2, "H": 7, "W": 13},
    ),
}  # fmt: skip


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize(
    "types", [("i8", "i8"), ("u8", "i8"), ("bf16", "bf16"), ("f16", "f16")], ids="-".join
)
@pytest.mark.parametrize("name", CASES)
def test_depthwise_equals_float64(name, types, isa):
    check(CpuDepthwise(), CASES[name].of(*types), isa, effort=1)


def test_sums_that_f32_does_not_hold_are_refused():
    case = NarrowCase(Conv(groups=16), narrow(1, 16, 40, 40), (16, 1, 17, 17))
    with pytest.raises(NoTactic, match="sums of 289 products"):
        CpuDepthwise().propose(case.workload(), AVX512, 0)
