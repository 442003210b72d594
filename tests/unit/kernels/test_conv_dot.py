"""Convolutions by vector registers: bytes exact against float64, narrow floats within their rounding."""

import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core.target import host
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_dot import CpuConvDot
from engineworks.ops.conv import Conv
from tests.unit.kernels.conv_case import Case, last, rows
from tests.unit.kernels.narrow_case import NarrowCase, check, narrow
from tests.unit.kernels.narrow_convs import CASES

DOT = AVX512.with_extras("avx512vnni", "avx512bf16")
AVX2_DOT = AVX2.with_extras("avxvnni")
has_dot = pytest.mark.skipif(
    not {"avx512vnni", "avx512bf16", "avxvnni"} <= set(host().features), reason="this CPU has no dot products"
)
OTHER_TYPES = [("u8", "i8"), ("i8", "u8"), ("u8", "u8"), ("f16", "f16"), ("f32", "bf16"), ("f32", "f16")]


@has_dot
@pytest.mark.parametrize("types", [("i8", "i8"), ("bf16", "bf16")], ids="-".join)
@pytest.mark.parametrize("name", CASES)
def test_dot_products_equal_float64(name, types):
    check(CpuConvDot(), CASES[name].of(*types), DOT, effort=1)


@has_dot
@pytest.mark.parametrize("types", OTHER_TYPES, ids="-".join)
@pytest.mark.parametrize("name", ["stride 3, uneven pads", "1x1 of few pixels"])
def test_other_dtypes(name, types):
    check(CpuConvDot(), CASES[name].of(*types), DOT)


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize("types", [("i8", "i8"), ("bf16", "bf16")], ids="-".join)
@pytest.mark.parametrize(
    "name", ["3x3 padded", "stem on planes", "groups", "1x1 of 70 channels", "dynamic stride"]
)
def test_widened_products_equal_float64(name, types, isa):
    check(CpuConvDot(), CASES[name].of(*types), isa, effort=1)


@has_dot
def test_bytes_are_flipped_once_for_many_outputs():
    case = NarrowCase(Conv(), narrow(1, 36, 7, 9), (130, 36, 1, 1), quantised=True)
    check(CpuConvDot(), case, DOT)


@has_dot
def test_eight_lanes_of_dot_products():
    check(CpuConvDot(), CASES["3x3 padded"].of("i8", "i8"), AVX2_DOT)


@pytest.mark.parametrize("channels", [1, 3, 6, 31, 33])
def test_any_number_of_channels(channels):
    case = NarrowCase(Conv(pads=(1, 0, 1, 0)), narrow(1, channels, 5, 6), (channels + 1, channels, 3, 3))
    check(CpuConvDot(), case.of("u8", "i8"), AVX512, effort=1)


def test_f32_alone_is_left_to_the_direct_family():
    work = Case(Conv(), (last(1, 8, 4, 4), rows(8, 8, 1, 1))).workload()
    with pytest.raises(NoTactic, match="direct family"):
        CpuConvDot().propose(work, AVX512, 0)
