"""Convolution kernels for GPUs, in Triton's interpreter, against torch in float64."""

import re
import subprocess

import numpy as np
import pytest

from engineworks.codegen.triton.compile import compile_cubin
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.conv import CudaConv
from engineworks.kernels.cuda.conv_direct import CudaConvDirect
from engineworks.kernels.cuda.conv_filters import FilterLayout, pack_filters
from engineworks.kernels.cuda.conv_implicit import ConvConfig
from engineworks.kernels.tactic import Tactic
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose
from tests.unit.kernels.conv_case import last, rows
from tests.unit.kernels.cuda.conv_gpu_case import GPUS, H200, GpuCase, check

N, H, W = symbol("N", 1, 4), symbol("H", 1), symbol("W", 1)
SIZES = {"N": 2, "H": 5, "W": 4}
ONE = (1, 1, 1, 1)
F32, BF16, MIXED = ("f32", "f32", None), ("bf16", "bf16", None), ("f16", "f32", "f32")
BYTES = [("i8", "i8", "i32"), ("u8", "i8", "i32"), ("i8", "u8", "i32"), ("u8", "u8", "i32")]
ALL = ("bias", "scale", "residual", "relu")
CASES = {
    "3x3, everything behind it": GpuCase(Conv(pads=ONE), last(2, 64, 5, 6), (48, 64, 3, 3), ends=ALL),
    "1x1": GpuCase(Conv(), last(2, 64, 5, 6), (48, 64, 1, 1), BF16, ("bias", "relu")),
    "1x1 of 40 channels": GpuCase(Conv(), last(1, 40, 5, 6), (17, 40, 1, 1), ends=("bias",)),
    "strided 1x1": GpuCase(Conv((2, 2)), last(1, 32, 7, 6), (5, 32, 1, 1), F32),
    "stem": GpuCase(Conv((2, 2), (3, 3, 3, 3)), last(1, 3, 10, 9), (24, 3, 7, 7), ends=("bias", "relu")),
    "stem on planes": GpuCase(Conv((2, 2), (3, 3, 3, 3)), rows(1, 3, 12, 10), (24, 3, 7, 7), ends=("bias",)),
    "patches": GpuCase(Conv((4, 4)), last(2, 3, 12, 12), (33, 3, 4, 4), BF16, ("bias",)),
    "17 channels, uneven pads": GpuCase(
        Conv((3, 2), (1, 0, 2, 1)), last(1, 17, 7, 9), (19, 17, 3, 2), ends=("residual",)
    ),
    "dilated": GpuCase(Conv((1, 2), (2, 3, 2, 3), (2, 3)), last(1, 32, 6, 7), (16, 32, 3, 3), F32),
    "groups taken together": GpuCase(Conv(pads=ONE, groups=8), last(1, 32, 4, 5), (40, 4, 3, 3), ends=("bias",)),
    "wide groups": GpuCase(Conv(pads=ONE, groups=2), last(1, 64, 4, 5), (40, 32, 3, 3), ends=("bias", "residual")),
    "49 taps": GpuCase(Conv(pads=(3, 3, 3, 3)), last(1, 32, 5, 6), (12, 32, 7, 7), MIXED),
    "one window along an axis, padded behind": GpuCase(
        Conv(pads=(0, 0, 1, 1)), last(1, 16, 2, 4), (5, 16, 3, 5), ends=("bias",)
    ),
    "few channels, padded behind": GpuCase(Conv(pads=(0, 0, 1, 1)), rows(1, 3, 2, 4), (5, 3, 3, 5), F32),
    "one axis": GpuCase(Conv(pads=(2, 2)), last(2, 20, 17), (8, 20, 5), F32, ("relu",)),
    "strided, with groups": GpuCase(
        Conv((2, 1), ONE, groups=2), last(N, 64, 2 * H, 5), (48, 32, 3, 3), ends=("bias",), dims=SIZES
    ),
    "dilated and strided": GpuCase(Conv((1, 3), (3, 4, 1, 2), (1, 2)), last(1, 32, 5, 12), (48, 32, 3, 3)),
    "one axis of bytes": GpuCase(Conv(pads=(1, 2)), last(2, 64, 20), (48, 64, 3), ("i8", "i8", "i32"), ("bias",)),
    "three axes": GpuCase(Conv((1, 2, 1), (1,) * 6), last(1, 8, 5, 6, 7), (12, 8, 3, 3, 3), BF16),
    "filters of the run": GpuCase(Conv(pads=ONE), last(1, 17, 4, 5), (19, 17, 3, 3), constant=False),
    "grouped filters of the run": GpuCase(
        Conv(pads=ONE, groups=2), last(1, 64, 4, 5), (12, 32, 3, 3), F32, constant=False
    ),
    "row-major output": GpuCase(Conv(pads=ONE), rows(1, 32, 4, 5), (12, 32, 3, 3), ends=("bias",), out_last=False),
    "dynamic 3x3": GpuCase(
        Conv((2, 1), ONE), last(N, 32, H, W), (24, 32, 3, 3), ends=("bias", "residual"), dims=SIZES
    ),
    "dynamic 1x1": GpuCase(Conv(), last(N, 40, H, W), (17, 40, 1, 1), F32, ("bias", "residual"), dims=SIZES),
    "dynamic stem": GpuCase(Conv((2, 2), ONE), last(N, 3, H, W), (8, 3, 3, 3), dims=SIZES),
    "dynamic batch": GpuCase(Conv(pads=ONE), last(N, 32, 3, 3), (24, 32, 3, 3), ends=("relu",), dims=SIZES),
    "same padding of sizes that vary": GpuCase(
        Conv((2, 2), auto_pad="SAME_UPPER"), last(1, 16, H, W), (24, 16, 3, 3), F32, dims=SIZES
    ),
}  # fmt: skip
FORCED = {
    "split": ("3x3, everything behind it", ConvConfig(32, 32, 32, 4, 3, 4)),
    "uneven split": ("dynamic 3x3", ConvConfig(16, 32, 16, 4, 2, 4)),
    "split, taken together": ("groups taken together", ConvConfig(16, 64, 32, 4, 2, 3)),
    "tile larger than all": ("17 channels, uneven pads", ConvConfig(64, 32, 16, 4, 2, 1, "taps")),
    "pairs of columns": ("stem on planes", ConvConfig(32, 32, 32, 4, 2, 1, "rows")),
    "boxes": ("3x3, everything behind it", ConvConfig(32, 64, 64, 4, 3, 1, "boxes", (2, 4, 4))),
    "boxes and split": ("3x3, everything behind it", ConvConfig(32, 64, 32, 4, 3, 3, "boxes", (1, 4, 8))),
    "boxes of sizes that vary": ("dynamic batch", ConvConfig(16, 64, 32, 4, 3, 1, "boxes", (1, 4, 4))),
    "strided boxes": ("strided, with groups", ConvConfig(32, 64, 32, 4, 3, 1, "boxes", (2, 4, 4))),
    "boxes of distant columns": ("dilated and strided", ConvConfig(32, 64, 32, 4, 3, 1, "boxes", (1, 8, 4))),
    "boxes of bytes": ("one axis of bytes", ConvConfig(32, 64, 32, 4, 3, 1, "boxes", (2, 1, 16))),
    "boxes of a group": ("wide groups", ConvConfig(32, 64, 32, 4, 3, 1, "boxes", (1, 4, 8))),
    "flat": ("dilated", ConvConfig(16, 16, 64, 4, 2, 1, "flat")),
    "flat and split": ("three axes", ConvConfig(32, 16, 32, 4, 2, 3, "flat")),
    "short last step of a tap": ("1x1 of 40 channels", ConvConfig(16, 16, 64, 4, 2)),
}
DIRECT = {
    "f64": GpuCase(
        Conv((2, 1), ONE, groups=2), rows(2, 4, 6, 7), (6, 2, 3, 3), ("f64", "f64", None), ("bias", "residual", "relu"), out_last=False
    ),
    "transposed, row-major": GpuCase(
        ConvTranspose((2, 2), (1, 0, 1, 1), (1, 2), 2, (1, 0)), rows(2, 4, 6, 7), (4, 3, 3, 3), F32,
        ("bias", "relu"), out_last=False,
    ),
    "transposed, dynamic": GpuCase(
        ConvTranspose((2, 2), (1, 0, 1, 1), (1, 2), 2, (1, 0)), last(N, 4, H, W), (4, 3, 3, 3), ends=("bias",),
        constant=False, dims=SIZES,
    ),
    "bytes of three axes": GpuCase(
        Conv(pads=(1,) * 6), last(1, 3, 3, 4, 5), (5, 3, 3, 3, 3), ("u8", "u8", "i32"), ("bias",), constant=False
    ),
}  # fmt: skip
RESNET = [
    (56, 64, 64, 3, 1),
    (14, 256, 256, 3, 1),
    (7, 512, 512, 3, 1),
    (56, 64, 256, 1, 1),
    (28, 256, 256, 3, 2),
]


def spilled_bytes(code, folder):
    """Stack of a thread, as the disassembler that comes with Triton reports it."""
    from triton import knobs

    (folder / "kernel.cubin").write_bytes(code)
    report = subprocess.run(
        [knobs.nvidia.cuobjdump.path, "-res-usage", folder / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r"STACK:(\d+)", report.stdout)[1])


@pytest.mark.parametrize("name", CASES)
def test_convolution_equals_torch(name):
    check(CudaConv(), CASES[name])


@pytest.mark.parametrize("types", BYTES, ids=str)
@pytest.mark.parametrize(
    "name", ["17 channels, uneven pads", "3x3, everything behind it", "groups taken together"]
)
def test_sums_of_bytes_are_exact(name, types):
    case = CASES[name].of(*types)
    check(CudaConv(), GpuCase(case.op, case.x, case.filters, types, ("bias", "relu")))


@pytest.mark.parametrize("name", FORCED)
def test_every_form_of_tile_equals_torch(name):
    case, config = FORCED[name]
    check(CudaConv(), CASES[case], [Tactic("cuda.conv", config)])


@pytest.mark.parametrize("name", DIRECT)
def test_convolution_without_matrix_units_equals_torch(name):
    check(CudaConvDirect(), DIRECT[name])


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("3x3, everything behind it", CudaConv()),
        ("stem on planes", CudaConv()),
        ("filters of the run", CudaConv()),
        ("dynamic 3x3", CudaConv()),
    ],
)
def test_kernels_compile_for_every_architecture(name, provider):
    check(provider, CASES[name], compiled=True)


def test_windows_of_planes_are_read_by_pairs_and_copied_ahead():
    work = GpuCase(
        Conv((2, 2), (3, 3, 3, 3)), rows(1, 3, 224, 224), (64, 3, 7, 7), ends=("bias", "relu")
    ).workload()
    tactic = next(t for t in CudaConv().propose(work, H200, 3) if t.config.form == "rows")
    assert tactic.is_loose
    (function,) = CudaConv().build(work, tactic, H200).functions.values()
    assert re.search(
        r"cp.async.ca.shared.global \[[^]]*\], \[[^]]*\], 0x4", compile_cubin(function, H200).ptx
    )


def test_boxes_go_from_shared_memory_to_matrix_units():
    work = GpuCase(Conv(pads=ONE), last(32, 64, 56, 56), (64, 64, 3, 3), ends=("bias", "relu")).workload()
    tactic = next(t for t in CudaConv().propose(work, H200, 3) if t.config.form == "boxes")
    (function,) = CudaConv().build(work, tactic, H200).functions.values()
    ptx = compile_cubin(function, H200).ptx
    assert "cp.async.bulk.tensor.4d" in ptx
    assert "wgmma" in ptx
    assert "ldmatrix" not in ptx


def test_boxes_need_tensor_copies_and_an_aligned_layout():
    case = GpuCase(Conv(pads=ONE), last(1, 64, 14, 14), (64, 64, 3, 3))
    narrow = GpuCase(Conv(pads=ONE), last(1, 68, 14, 14), (64, 68, 3, 3))
    forms = [
        {t.config.form for t in CudaConv().propose(c.workload(), gpu, 5)}
        for c, gpu in ((case, GPUS[0]), (narrow, H200), (case, H200))
    ]
    assert ["boxes" in f for f in forms] == [False, False, True]


def test_patches_of_planes_are_read_sixteen_bytes_at_once():
    work = GpuCase(Conv((16, 16)), rows(1, 3, 224, 224), (768, 3, 16, 16), ends=("bias",)).workload()
    (tactic,) = CudaConv().propose(work, H200, 0)
    assert not tactic.is_loose
    function = next(iter(CudaConv().build(work, tactic, H200).functions.values()))
    ptx = compile_cubin(function, H200).ptx
    assert "cp.async.cg" in ptx
    assert "cp.async.ca" not in ptx


@pytest.mark.parametrize("allow_tf32", [False, True])
def test_f32_compiles_with_and_without_tf32(allow_tf32):
    op = Conv(pads=ONE, allow_tf32=allow_tf32)
    work = GpuCase(op, last(1, 64, 14, 14), (64, 64, 3, 3), F32, ("bias",)).workload()
    (tactic,) = CudaConv().propose(work, H200, 0)
    function = next(iter(CudaConv().build(work, tactic, H200).functions.values()))
    assert ("tf32" in compile_cubin(function, H200).ptx) == allow_tf32


def test_bytes_compile_for_every_architecture():
    case = CASES["3x3, everything behind it"]
    check(CudaConv(), GpuCase(case.op, case.x, case.filters, BYTES[3], ("bias",)), compiled=True)


@pytest.mark.parametrize("shape", RESNET, ids=str)
@pytest.mark.parametrize("batch", [1, 32])
def test_kernels_of_resnet_use_matrix_units_and_do_not_spill(shape, batch, tmp_path):
    size, channels, outputs, kernel, stride = shape
    op = Conv((stride, stride), (kernel // 2,) * 4)
    work = GpuCase(
        op, last(batch, channels, size, size), (outputs, channels, kernel, kernel), ends=("bias", "relu")
    ).workload()
    (tactic,) = CudaConv().propose(work, H200, 0)
    function = next(iter(CudaConv().build(work, tactic, H200).functions.values()))
    cubin = compile_cubin(function, H200)
    rows = tactic.config.outputs if tactic.config.form == "boxes" else tactic.config.pixels
    assert ("wgmma.mma_async" if rows >= 64 else "mma.sync") in cubin.ptx
    assert spilled_bytes(cubin.code, tmp_path) == 0


def test_effort_zero_proposes_one_and_effort_three_a_dozen_different_tiles():
    work = CASES["3x3, everything behind it"].workload()
    assert len(list(CudaConv().propose(work, H200, 0))) == 1
    several = [t.text() for t in CudaConv().propose(work, H200, 3)]
    assert 10 <= len(several) == len(set(several)) <= 16


def test_equal_kernels_have_equal_symbols():
    work = CASES["3x3, everything behind it"].workload()
    (tactic,) = CudaConv().propose(work, H200, 0)
    assert CudaConv().build(work, tactic, H200).functions == CudaConv().build(work, tactic, H200).functions


def test_deep_layers_of_one_image_are_split_along_k():
    work = GpuCase(Conv(pads=ONE), last(1, 512, 7, 7), (512, 512, 3, 3), ends=("bias",)).workload()
    (tactic,) = CudaConv().propose(work, H200, 0)
    assert tactic.config.split > 1


def test_doubles_and_depthwise_filters_are_refused_with_a_reason():
    with pytest.raises(NoTactic, match="f64"):
        CudaConv().propose(DIRECT["f64"].workload(), H200, 3)
    with pytest.raises(NoTactic, match="one channel"):
        CudaConv().propose(GpuCase(Conv(groups=8), last(1, 8, 4, 4), (8, 1, 3, 3)).workload(), H200, 3)


def test_packed_filters_are_panels_with_zeros_between_merged_groups():
    w = np.arange(1, 1 + 4 * 2 * 3, dtype=np.float32).reshape(4, 2, 3)
    layout = FilterLayout(2, True, "taps, channels", 8, 48, 16)
    packed = pack_filters(
        w, 2, layout, GpuCase(Conv(), last(1, 1, 1), (1, 1, 1), F32).workload().outputs[0].dtype
    )
    assert packed.shape == (1, 8, 48)
    assert packed[0, 3, 16 * 2 + 2 + 1] == w[3, 1, 2]
    assert not packed[0, 3, 16 * 2 : 16 * 2 + 2].any()
    assert not packed[0, 4:].any()
