"""Winograd kernels against torch."""

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.winograd import CpuWinograd
from engineworks.ops.conv import Conv
from tests.unit.kernels.conv_case import Case, last, rows, run, torch_conv

N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
CASES = {
    "batch": Case(Conv(pads=(1, 1, 1, 1)), (last(2, 32, 9, 10), rows(24, 32, 3, 3), rows(24)), relu=True),
    "uneven padding, tails, residual": Case(
        Conv(pads=(0, 1, 1, 2)),
        (last(1, 20, 13, 7, pad=16), rows(72, 20, 3, 3), rows(72)),
        residual=True,
        out_pad=16,
    ),
    "no padding, no bias": Case(Conv(), (last(1, 16, 6, 6), rows(32, 16, 3, 3))),
    "dynamic batch": Case(
        Conv(pads=(1, 1, 1, 1)),
        (last(N, 32, 9, 10), rows(24, 32, 3, 3), rows(24)),
        residual=True,
        dims={"N": 3},
    ),
    "planes": Case(
        Conv(pads=(1, 0, 1, 2)), (rows(2, 20, 9, 11), rows(24, 20, 3, 3), rows(24)), residual=True
    ),
    "dynamic": Case(
        Conv(pads=(1, 1, 1, 1)),
        (last(N, 20, H, W), rows(24, 20, 3, 3), rows(24)),
        residual=True,
        dims={"N": 2, "H": 6, "W": 11},
    ),
    "dynamic planes, whole tiles": Case(
        Conv(pads=(1, 1, 1, 1)), (rows(N, 20, H, W), rows(24, 20, 3, 3)), dims={"N": 1, "H": 8, "W": 12}
    ),
}


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize("name", CASES)
def test_winograd_equals_torch(name, isa):
    for tactic, arrays, (y,) in run(CpuWinograd(), CASES[name], isa):
        np.testing.assert_allclose(y, torch_conv(CASES[name], arrays), atol=2e-4, err_msg=tactic.text())


def test_both_organisations_and_both_sizes_are_proposed():
    configs = [t.config for t in CpuWinograd().propose(CASES["batch"].workload(), AVX512, 5)]
    assert {c.m for c in configs} == {2, 4}
    assert {c.block == 0 for c in configs} == {True, False}


def test_strict_provider_keeps_the_accuracy_of_direct_convolution():
    strict = CpuWinograd()
    strict.fast = False
    for _, arrays, (y,) in run(strict, CASES["batch"], AVX512):
        np.testing.assert_allclose(y, torch_conv(CASES["batch"], arrays), atol=1e-5)


@pytest.mark.parametrize(
    ("op", "w"),
    [(Conv(strides=(2, 2)), (16, 16, 3, 3)), (Conv(groups=2), (16, 8, 3, 3)), (Conv(), (16, 16, 5, 5))],
)
def test_other_convolutions_are_refused(op, w):
    with pytest.raises(NoTactic, match="3x3"):
        CpuWinograd().propose(Case(op, (last(1, 16, 9, 9), rows(*w))).workload(), AVX512, 3)
