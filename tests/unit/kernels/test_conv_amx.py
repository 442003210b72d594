"""Convolutions by tile registers: exact against float64 in integers, within bf16's rounding in floats."""

import pytest

from engineworks.codegen.llvm.function import AVX512
from engineworks.core.dims import symbol
from engineworks.core.target import host
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_amx import CpuConvAmx
from engineworks.ops.conv import Conv
from tests.unit.kernels.conv_case import rows
from tests.unit.kernels.narrow_case import NarrowCase, check, narrow

TILES = ("amx-tile", "amx-bf16", "amx-int8")
ISA = AVX512.with_extras(*TILES)
pytestmark = pytest.mark.skipif(not set(TILES) <= set(host().features), reason="this CPU has no AMX")

N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
SIZES = {"N": 2, "H": 9, "W": 23}

CASES = {
    "3x3 padded": NarrowCase(Conv(pads=(1, 1, 1, 1)), narrow(1, 64, 9, 10), (40, 64, 3, 3), quantised=True),
    "batch and bias": NarrowCase(Conv(pads=(1, 1, 1, 1)), narrow(2, 32, 7, 7), (32, 32, 3, 3), bias=True),
    "1x1": NarrowCase(Conv(), narrow(2, 128, 7, 7), (70, 128, 1, 1), quantised=True),
    "1x1 of few pixels": NarrowCase(Conv(), narrow(1, 256, 1, 1), (33, 256, 1, 1), quantised=True),
    "1x1 of 24 channels": NarrowCase(Conv(), narrow(1, 24, 5, 7), (16, 24, 1, 1)),
    "1x1 of 70 channels": NarrowCase(Conv(), narrow(1, 70, 5, 7), (17, 70, 1, 1)),
    "strided 1x1": NarrowCase(Conv((2, 2)), narrow(1, 64, 14, 13), (48, 64, 1, 1)),
    "strided 3x3": NarrowCase(Conv((2, 2), (1, 1, 1, 1)), narrow(2, 32, 15, 14), (32, 32, 3, 3)),
    "stride 3, uneven pads": NarrowCase(Conv((3, 2), (1, 0, 2, 1)), narrow(1, 20, 17, 13), (20, 20, 3, 2)),
    "stem": NarrowCase(Conv((2, 2), (3, 3, 3, 3)), narrow(1, 3, 22, 20), (24, 3, 7, 7)),
    "stem on planes": NarrowCase(Conv((2, 2), (3, 3, 3, 3)), rows(1, 3, 22, 20, dtype="i8"), (24, 3, 7, 7)),
    "dilated": NarrowCase(Conv((1, 2), (2, 3, 2, 3), (2, 3)), narrow(1, 16, 12, 12), (16, 16, 3, 3)),
    "groups": NarrowCase(
        Conv(pads=(1, 1, 1, 1), groups=8), narrow(1, 32, 8, 9), (40, 4, 3, 3), quantised=True
    ),
    "two wide groups": NarrowCase(Conv(groups=2), narrow(1, 140, 5, 6), (44, 70, 1, 1)),
    "one axis": NarrowCase(Conv(pads=(2, 2)), narrow(2, 20, 17), (8, 20, 5)),
    "three axes": NarrowCase(Conv((1, 2, 1), (1,) * 6), narrow(1, 8, 5, 6, 7), (12, 8, 3, 3, 3)),
    "patches": NarrowCase(Conv((4, 4)), rows(1, 3, 16, 16, dtype="i8"), (32, 3, 4, 4)),
    "larger pads than the kernel": NarrowCase(Conv(pads=(3, 4, 3, 4)), narrow(1, 5, 4, 4), (6, 5, 2, 2)),
    "dynamic 3x3": NarrowCase(
        Conv(pads=(1, 1, 1, 1)), narrow(N, 32, H, W), (24, 32, 3, 3), quantised=True, dims=SIZES
    ),
    "dynamic 1x1": NarrowCase(Conv(), narrow(N, 64, H, W), (40, 64, 1, 1), dims=SIZES),
    "dynamic batch": NarrowCase(Conv(), narrow(N, 64, 7, 7), (40, 64, 1, 1), quantised=True, dims=SIZES),
    "dynamic stride": NarrowCase(Conv((2, 2), (1, 1, 1, 1)), narrow(N, 32, H, W), (24, 32, 3, 3), dims=SIZES),
}


@pytest.mark.parametrize("types", [("i8", "i8"), ("u8", "i8"), ("bf16", "bf16")], ids="-".join)
@pytest.mark.parametrize("name", CASES)
def test_tiles_equal_float64(name, types):
    check(CpuConvAmx(), CASES[name].of(*types), ISA)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 31, 33, 63, 64, 65])
def test_any_number_of_channels(channels):
    case = NarrowCase(Conv(pads=(1, 0, 1, 0)), narrow(1, channels, 5, 6), (channels, channels, 3, 3))
    for types in (("i8", "u8"), ("bf16", "bf16")):
        if channels > 1 or types[0] != "i8":
            check(CpuConvAmx(), case.of(*types), ISA, effort=1)


def test_targets_without_tiles_are_refused_with_a_reason():
    work = CASES["1x1"].workload()
    with pytest.raises(NoTactic, match="tiles of i8 by i8 are not among the target's features"):
        CpuConvAmx().propose(work, AVX512, 0)
