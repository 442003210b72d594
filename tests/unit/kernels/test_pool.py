"""Pooling kernels against the meaning of their ops in float64, and against torch."""

import numpy as np
import pytest
import torch

from engineworks.codegen.llvm.function import AVX2, AVX512
from engineworks.core.dims import symbol
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.pool import CpuPool
from engineworks.kernels.cpu.pool_loops import CpuPoolLoops
from engineworks.ops.average_pool import AveragePool
from engineworks.ops.lp_pool import LpPool
from engineworks.ops.max_pool import MaxPool
from tests.unit.kernels.conv_case import Case, last, rows, run

N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
ONE = (1, 1, 1, 1)
OPS = {
    "max 3x3": MaxPool((3, 3), (2, 2), ONE),
    "max 2x2": MaxPool((2, 2), (2, 2)),
    "max dilated": MaxPool((3, 2), (2, 1), (1, 0, 1, 1), (1, 2), True),
    "max 7x7": MaxPool((7, 7), pads=(3, 3, 3, 3)),
    "average": AveragePool((3, 3), (2, 2), ONE),
    "average, partial windows": AveragePool((3, 3), (2, 2), ONE, ceil_mode=True),
    "average with padding": AveragePool((3, 3), (2, 2), ONE, ceil_mode=True, count_include_pad=True),
    "norm": LpPool((3, 3), 2.0, (2, 2), ONE),
}


def reference(case, arrays):
    """The op's numpy meaning, in float64."""
    wide = [a.astype(np.float64) for a in arrays[:1]]
    y = case.op.reference(*wide)
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize("dims", [None, {"N": 2, "H": 9, "W": 7}], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", OPS)
def test_channels_last_pooling_equals_its_meaning(name, dims, isa):
    case = Case(OPS[name], (last(2, 40, 9, 7) if dims is None else last(N, 40, H, W),), dims=dims or {})
    for tactic, arrays, (y,) in run(CpuPool(), case, isa):
        np.testing.assert_allclose(y, reference(case, arrays)[0], atol=1e-5, err_msg=tactic.text())


def test_average_pool_with_partial_windows_equals_torch():
    case = Case(OPS["average with padding"], (last(2, 40, 9, 7),))
    for _, arrays, (y,) in run(CpuPool(), case, AVX512):
        wanted = torch.nn.functional.avg_pool2d(
            torch.from_numpy(arrays[0]), 3, 2, 1, ceil_mode=True, count_include_pad=True
        )
        np.testing.assert_allclose(y, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("op", "x"),
    [
        (MaxPool((3,), (2,), (1, 1)), last(2, 20, 9)),
        (AveragePool((3, 2, 2), (2, 1, 2), (1, 0, 1, 1, 1, 1)), last(2, 20, 5, 6, 7)),
        (MaxPool((3, 3), (2, 2)), last(1, 70, 7, 7, dtype="i8")),
        (MaxPool((3, 3), (2, 2)), last(1, 70, 7, 7, dtype="u8")),
        (MaxPool((3, 3), (2, 2)), last(1, 150, 7, 7, dtype="u8")),
        (MaxPool((3, 3), (2, 2)), last(1, 70, 7, 7, dtype="f16")),
        (MaxPool((3, 3), (2, 2)), last(1, 70, 7, 7, dtype="bf16")),
        (AveragePool((20, 18), pads=(9, 9, 10, 8)), last(1, 20, 9, 9)),
    ],
    ids=["one axis", "three axes", "i8", "u8", "wide u8", "f16", "bf16", "wide windows"],
)
@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
def test_other_ranks_and_dtypes(op, x, isa):
    case = Case(op, (x,))
    for _, arrays, (y,) in run(CpuPool(), case, isa):
        np.testing.assert_allclose(y.astype(np.float64), reference(case, arrays)[0], atol=1e-5)


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f16", 2e-3), ("bf16", 2e-2)])
def test_means_of_narrow_floats_are_summed_in_f32(dtype, tolerance, isa):
    case = Case(OPS["average"], (last(1, 70, 9, 7, dtype=dtype),))
    for _, arrays, (y,) in run(CpuPool(), case, isa, effort=1):
        np.testing.assert_allclose(y.astype(np.float64), reference(case, arrays)[0], atol=tolerance)


def test_epilogue_runs_behind_a_pooling():
    case = Case(AveragePool((3, 3), pads=ONE), (last(1, 20, 9, 9),), residual=True, relu=True)
    for _, arrays, (y,) in run(CpuPool(), case, AVX512):
        np.testing.assert_allclose(y, np.maximum(reference(case, arrays)[0] + arrays[1], 0), atol=1e-5)


@pytest.mark.parametrize("order", [0, 1])
def test_positions_of_maxima_equal_torch_or_their_transpose(order):
    case = Case(
        MaxPool((3, 2), (2, 2), indices=True, storage_order=order), (rows(2, 3, 8, 9),), out_last=False
    )
    for _, arrays, (values, positions) in run(CpuPoolLoops(), case, AVX512):
        wanted, found = torch.nn.functional.max_pool2d(
            torch.from_numpy(arrays[0]), (3, 2), 2, return_indices=True
        )
        np.testing.assert_array_equal(values, wanted.numpy())
        row, column = np.divmod(found.numpy(), 9)
        plane = np.arange(6).reshape(2, 3, 1, 1) * 72
        np.testing.assert_array_equal(positions, plane + (column * 8 + row if order else row * 9 + column))


def test_nan_wins_the_maximum():
    case = Case(MaxPool((3, 3)), (last(1, 16, 5, 5),))
    work = case.workload()
    from engineworks.testing.kernels import run_image

    x = np.zeros((1, 16, 5, 5), np.float32)
    x[0, 3, 2, 2] = np.nan
    tactic = next(iter(CpuPool().propose(work, AVX512, 0)))
    (y,) = run_image(CpuPool().build(work, tactic, AVX512), [(x, case.inputs[0])], work.outputs, AVX512)
    assert np.isnan(y[0, 3]).all()
    assert not np.isnan(y[0, 2]).any()


def test_positions_are_refused_by_the_vector_kernel():
    with pytest.raises(NoTactic, match="positions"):
        CpuPool().propose(Case(MaxPool((2, 2), indices=True), (last(1, 16, 4, 4),)).workload(), AVX512, 3)
