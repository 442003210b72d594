"""Poolings for GPUs, in Triton's interpreter, against the meaning of their ops in float64, and against torch."""

import numpy as np
import pytest
import torch

from engineworks.core.dims import symbol
from engineworks.kernels.cuda.pool import CudaPool
from engineworks.ops.average_pool import AveragePool
from engineworks.ops.lp_pool import LpPool
from engineworks.ops.max_pool import MaxPool
from engineworks.testing.gpu_kernels import compile_image, interpret_image
from tests.unit.kernels.conv_case import Case, draw, last, rows
from tests.unit.kernels.cuda.conv_gpu_case import GPUS, H200
from tests.unit.kernels.test_pool import ONE, OPS, reference

N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
SIZES = {"N": 2, "H": 7, "W": 6}
TOLERANCE = {"bf16": 3e-2, "f16": 3e-3, "f32": 1e-5}
SMALL = {n: op for n, op in OPS.items() if n != "max 7x7"}
OTHERS = {
    "one axis, ceiled": Case(MaxPool((3,), (2,), ceil_mode=True), (last(N, 2, H),), dims=SIZES),
    "three axes": Case(AveragePool((3, 2, 2), (2, 1, 2), (1, 0, 1, 1, 1, 1)), (last(1, 20, 4, 5, 4, dtype="bf16"),)),
    "maxima of i8": Case(MaxPool((3, 3), (2, 2), ONE), (last(1, 40, 5, 5, dtype="i8"),)),
    "maxima of u8": Case(MaxPool((3, 3), (2, 2), ONE), (last(1, 40, 5, 5, dtype="u8"),)),
    "maxima of i64": Case(MaxPool((3, 3), (2, 2), ONE), (last(1, 3, 5, 5, dtype="i64"),)),
    "means of f16": Case(OPS["average"], (last(1, 33, 5, 7, dtype="f16"),)),
    "norm with p=3": Case(LpPool((3,), 3.0, (2,), ceil_mode=True), (last(N, 2, H),), dims=SIZES),
    "norm with p=1 of f64": Case(LpPool((3,), 1.0), (rows(N, 2, H, dtype="f64"),), dims=SIZES, out_last=False),
    "wide windows": Case(AveragePool((8, 9), pads=(3, 4, 4, 4)), (last(1, 8, 4, 4),)),
    "channels that vary": Case(OPS["max 3x3"], (rows(1, symbol("C", 1, 9), 5, 5),), dims={"C": 3}, out_last=False),
    "epilogue": Case(AveragePool((3, 3), pads=ONE), (last(1, 20, 5, 5),), residual=True, relu=True),
}  # fmt: skip


def run(case, *, compiled=False):
    """(inputs, outputs) of the predicted tactic."""
    work = case.workload()
    arrays = draw(case, work)
    if arrays[0].dtype.kind in "iu":
        arrays = [np.random.default_rng(3).integers(0, 127, a.shape).astype(a.dtype) for a in arrays]
    (tactic,) = CudaPool().propose(work, H200, 0)
    image = CudaPool().build(work, tactic, H200)
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True)]
    if compiled:
        compile_image(image, *GPUS)
    return arrays, interpret_image(image, given, work.outputs, dict(case.dims))


def check(case, **options):
    arrays, (y,) = run(case, **options)
    wanted = reference(case, arrays)[0]
    if case.residual:
        wanted = np.maximum(wanted + arrays[1], 0)
    loose = TOLERANCE.get(case.inputs[0].dtype.name, 1e-12)
    np.testing.assert_allclose(y.astype(np.float64), wanted, atol=loose, rtol=loose)


@pytest.mark.parametrize("lies", ["channels last", "planes", "dynamic"])
@pytest.mark.parametrize("name", SMALL)
def test_pooling_equals_its_meaning(name, lies):
    x = {"channels last": last(2, 20, 7, 5), "planes": rows(2, 3, 7, 5), "dynamic": last(N, 20, H, W)}[lies]
    check(Case(SMALL[name], (x,), out_last=lies != "planes", dims=SIZES))


@pytest.mark.parametrize("name", OTHERS)
def test_other_ranks_and_dtypes(name):
    check(OTHERS[name])


def test_means_with_padding_equal_torch():
    arrays, (y,) = run(Case(OPS["average with padding"], (last(2, 20, 9, 7),)))
    wanted = torch.nn.functional.avg_pool2d(
        torch.from_numpy(arrays[0]), 3, 2, 1, ceil_mode=True, count_include_pad=True
    )
    np.testing.assert_allclose(y, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("order", [0, 1])
def test_positions_of_maxima_equal_torch_or_their_transpose(order):
    op = MaxPool((3, 2), (2, 2), indices=True, storage_order=order)
    arrays, (values, positions) = run(Case(op, (rows(2, 3, 8, 9),), out_last=False))
    wanted, found = torch.nn.functional.max_pool2d(
        torch.from_numpy(arrays[0]), (3, 2), 2, return_indices=True
    )
    np.testing.assert_array_equal(values, wanted.numpy())
    row, column = np.divmod(found.numpy(), 9)
    plane = np.arange(6).reshape(2, 3, 1, 1) * 72
    np.testing.assert_array_equal(positions, plane + (column * 8 + row if order else row * 9 + column))


def test_positions_of_maxima_with_padding_and_ties():
    op = MaxPool((3, 3), (2, 2), ONE, indices=True)
    case = Case(op, (last(1, 5, 6, 7),))
    work = case.workload()
    x = np.random.default_rng(0).integers(-2, 2, (1, 5, 6, 7)).astype(np.float32)
    x[0, 2, 3, 3] = np.nan
    (tactic,) = CudaPool().propose(work, H200, 0)
    made = interpret_image(CudaPool().build(work, tactic, H200), [(x, case.inputs[0])], work.outputs)
    for ours, wanted in zip(made, op.reference(x), strict=True):
        np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize("name", ["three axes", "maxima of u8", "norm with p=3", "norm with p=1 of f64"])
def test_kernels_compile_for_every_architecture(name):
    check(OTHERS[name], compiled=True)


def test_nan_wins_the_maximum():
    case = Case(MaxPool((3, 3)), (last(1, 16, 5, 5),))
    work = case.workload()
    x = np.zeros((1, 16, 5, 5), np.float32)
    x[0, 3, 2, 2] = np.nan
    (tactic,) = CudaPool().propose(work, H200, 0)
    (y,) = interpret_image(CudaPool().build(work, tactic, H200), [(x, case.inputs[0])], work.outputs)
    assert np.isnan(y[0, 3]).all()
    assert not np.isnan(y[0, 2]).any()
