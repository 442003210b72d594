"""Convolutions by tile registers: exact against float64 in integers, within bf16's rounding in floats."""

import pytest

from engineworks.codegen.llvm.function import AVX512
from engineworks.core.target import host
from engineworks.errors import NoTactic
from engineworks.kernels.cpu import conv_positions_image
from engineworks.kernels.cpu.conv_amx import CpuConvAmx
from engineworks.ops.conv import Conv
from tests.unit.kernels.narrow_case import NarrowCase, check, narrow
from tests.unit.kernels.narrow_convs import CASES

TILES = ("amx-tile", "amx-bf16", "amx-int8", "avx512bf16")
ISA = AVX512.with_extras(*TILES)
pytestmark = pytest.mark.skipif(
    not set(TILES) <= set(host().features), reason="this CPU has no AMX or AVX512_BF16"
)


@pytest.mark.parametrize("types", [("i8", "i8"), ("u8", "i8"), ("bf16", "bf16")], ids="-".join)
@pytest.mark.parametrize("name", CASES)
def test_tiles_equal_float64(name, types):
    check(CpuConvAmx(), CASES[name].of(*types), ISA, effort=2)


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


@pytest.mark.parametrize("name", ["3x3 padded", "strided 3x3", "stem on planes", "batch and bias"])
def test_bands_of_rows_are_copied_by_who_computes_them(name, monkeypatch):
    monkeypatch.setattr(conv_positions_image, "COPY_BYTES", 1000)
    monkeypatch.setattr(conv_positions_image, "BAND_BYTES", 6000)
    case = CASES[name].of("i8", "i8")
    assert any(t.config.band for t in CpuConvAmx().propose(case.workload(), ISA, 2))
    check(CpuConvAmx(), case, ISA, effort=2)
