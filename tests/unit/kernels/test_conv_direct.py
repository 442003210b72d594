"""Direct and transposed convolution kernels against torch, on both instruction sets."""

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_direct import CpuConvDirect
from engineworks.kernels.cpu.conv_filters import pack_filters
from engineworks.kernels.cpu.conv_loops import CpuConvLoops
from engineworks.kernels.cpu.conv_tiles import spread
from engineworks.kernels.cpu.conv_transpose import CpuConvTranspose
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose
from tests.unit.kernels.conv_case import Case, last, rows, run, torch_conv

N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
SIZES = {"N": 2, "H": 9, "W": 23}
SMALL = {"N": 1, "H": 3, "W": 5}

STATIC = {
    "3x3 padded": Case(
        Conv(pads=(1, 1, 1, 1)), (last(1, 32, 9, 10), rows(24, 32, 3, 3), rows(24)), relu=True
    ),
    "batch, padded rows, residual": Case(
        Conv(pads=(1, 1, 1, 1)),
        (last(2, 32, 9, 10, pad=16), rows(40, 32, 3, 3), rows(40)),
        residual=True,
        relu=True,
        out_pad=16,
    ),
    "1x1 with a tail": Case(Conv(), (last(2, 48, 7, 7), rows(70, 48, 1, 1)), relu=True),
    "uneven padding and stride": Case(
        Conv((2, 2), (1, 0, 2, 1)), (last(1, 16, 11, 13), rows(32, 16, 3, 2), rows(32))
    ),
    "stem on planes": Case(
        Conv((2, 2), (3, 3, 3, 3)), (rows(1, 3, 22, 20), rows(16, 3, 7, 7), rows(16)), relu=True
    ),
    "groups of three channels": Case(
        Conv(groups=4, pads=(1, 1, 1, 1)), (last(1, 12, 6, 7), rows(20, 3, 3, 3), rows(20))
    ),
    "dilated": Case(Conv(dilations=(2, 3), pads=(2, 3, 2, 3)), (last(1, 16, 12, 12), rows(16, 16, 3, 3))),
    "one axis": Case(Conv(pads=(2, 2)), (last(2, 20, 17), rows(8, 20, 5), rows(8))),
    "three axes": Case(Conv((1, 2, 1), (1,) * 6), (last(1, 8, 5, 6, 7), rows(12, 8, 3, 3, 3), rows(12))),
    "filters computed at run time": Case(
        Conv(pads=(1, 1, 1, 1)), (last(1, 32, 8, 8), rows(24, 32, 3, 3), rows(24)), constant=False
    ),
    "patches of planes": Case(Conv((4, 4)), (rows(1, 3, 16, 16), rows(32, 3, 4, 4), rows(32))),
    "strided 1x1": Case(Conv((2, 2)), (last(1, 256, 8, 8), rows(64, 256, 1, 1))),
    "single input channel": Case(Conv(pads=(1, 1, 1, 1)), (rows(1, 1, 9, 9), rows(16, 1, 3, 3))),
}
DYNAMIC = {
    "3x3 padded": Case(
        Conv(pads=(1, 1, 1, 1)), (last(N, 32, H, W), rows(24, 32, 3, 3), rows(24)), residual=True
    ),
    "1x1": Case(Conv(), (last(N, 24, H, W), rows(40, 24, 1, 1), rows(40))),
    "stem on planes": Case(
        Conv((2, 2), (3, 3, 3, 3)), (rows(N, 3, H, W), rows(16, 3, 7, 7), rows(16)), relu=True
    ),
    "same padding": Case(Conv((1, 1), (1, 1, 1, 1)), (last(N, 8, H, W), rows(16, 8, 3, 3))),
    "batch only": Case(
        Conv(pads=(1, 1, 1, 1)), (last(N, 16, 9, 10), rows(24, 16, 3, 3), rows(24)), residual=True
    ),
    "one axis": Case(Conv(pads=(2, 2)), (last(N, 16, W), rows(24, 16, 5), rows(24))),
}
TRANSPOSED = {
    "2x2 stride 2": Case(ConvTranspose((2, 2)), (last(2, 20, 5, 6), rows(20, 24, 2, 2), rows(24))),
    "4x4 stride 2": Case(
        ConvTranspose((2, 2), (1, 1, 1, 1)),
        (last(1, 16, 5, 6), rows(16, 24, 4, 4), rows(24)),
        residual=True,
        relu=True,
    ),
    "output padding": Case(
        ConvTranspose((2, 2), (1, 0, 1, 1), output_padding=(1, 1)),
        (last(1, 16, 5, 6), rows(16, 12, 3, 3), rows(12)),
    ),
    "groups and dilation": Case(
        ConvTranspose((3, 2), (1, 0, 1, 2), (2, 2), 2), (last(1, 8, 5, 6), rows(8, 12, 3, 2), rows(24))
    ),
    "outputs no tap reaches": Case(ConvTranspose((3, 3)), (last(1, 8, 5, 6), rows(8, 12, 1, 2), rows(12))),
    "one axis": Case(ConvTranspose((2,), (1, 1)), (last(1, 8, 9), rows(8, 12, 4), rows(12))),
    "three axes": Case(ConvTranspose((2, 1, 2)), (last(1, 8, 3, 4, 5), rows(8, 12, 2, 3, 2), rows(12))),
    "planes": Case(ConvTranspose((2, 2), (1, 1, 1, 1)), (rows(1, 16, 5, 6), rows(16, 24, 3, 3), rows(24))),
    "dynamic": Case(
        ConvTranspose((2, 2), (1, 1, 1, 1)), (last(N, 20, H, W), rows(20, 24, 4, 4), rows(24)), dims=SIZES
    ),
    "dynamic planes": Case(
        ConvTranspose((2, 1), (0, 1, 1, 1)), (rows(N, 20, H, W), rows(20, 24, 3, 3)), dims=SIZES
    ),
}


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize("name", STATIC)
def test_static_convolution_equals_torch(name, isa):
    for tactic, arrays, (y,) in run(CpuConvDirect(), STATIC[name], isa):
        np.testing.assert_allclose(
            y, torch_conv(STATIC[name], arrays), atol=2e-5, rtol=1e-4, err_msg=tactic.text()
        )


@pytest.mark.parametrize("dims", [SIZES, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_convolution_equals_torch(name, dims):
    case = DYNAMIC[name]
    sized = Case(case.op, case.inputs, case.residual, case.relu, dims=dims)
    for tactic, arrays, (y,) in run(CpuConvDirect(), sized, AVX512):
        np.testing.assert_allclose(y, torch_conv(sized, arrays), atol=2e-5, rtol=1e-4, err_msg=tactic.text())


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolution_equals_torch(name, isa):
    for tactic, arrays, (y,) in run(CpuConvTranspose(), TRANSPOSED[name], isa, effort=1):
        np.testing.assert_allclose(
            y, torch_conv(TRANSPOSED[name], arrays), atol=2e-5, rtol=1e-4, err_msg=tactic.text()
        )


@pytest.mark.parametrize(("dtype", "tolerance"), [("f32", 1e-5), ("f64", 1e-12), ("f16", 2e-3)])
@pytest.mark.parametrize(
    ("op", "filters"),
    [
        (Conv((2, 1), (1, 1, 1, 1), groups=2), (6, 2, 3, 3)),
        (ConvTranspose((2, 2), (1, 0, 1, 1), (1, 2), 2, (1, 0)), (4, 3, 3, 3)),
    ],
    ids=["conv", "conv_transpose"],
)
def test_loop_nests_serve_every_dtype_and_row_major_outputs(op, filters, dtype, tolerance):
    case = Case(
        op, (rows(2, 4, 6, 7, dtype=dtype), rows(*filters, dtype=dtype), rows(6, dtype=dtype)), out_last=False
    )
    for _, arrays, (y,) in run(CpuConvLoops(), case, AVX512):
        np.testing.assert_allclose(y, torch_conv(case, arrays), atol=tolerance, rtol=tolerance)


def test_row_major_output_is_refused_with_a_reason():
    case = Case(Conv(), (rows(1, 8, 4, 4), rows(8, 8, 1, 1)), out_last=False)
    with pytest.raises(NoTactic, match="channels innermost"):
        CpuConvDirect().propose(case.workload(), AVX512, 3)


def test_effort_zero_proposes_one_tactic():
    assert len(list(CpuConvDirect().propose(STATIC["3x3 padded"].workload(), AVX512, 0))) == 1


def test_equal_kernels_have_equal_symbols():
    work, provider = STATIC["3x3 padded"].workload(), CpuConvDirect()
    (tactic,) = provider.propose(work, AVX512, 0)
    assert (
        provider.build(work, tactic, AVX512).functions.keys()
        == provider.build(work, tactic, AVX512).functions.keys()
    )


def test_spread_evens_out_parts():
    assert spread(49, 14) == [(13, 1), (12, 3)]


def test_packed_filters_are_panels_of_taps_channels_outputs():
    w = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
    packed = pack_filters(w, 1, 4)
    assert packed.shape == (1, 2, 6, 4)
    assert packed[0, 1, 2 * 2 + 1, 0] == w[4, 1, 2]
    assert not packed[0, 1, :, 1:].any()
