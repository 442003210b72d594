"""Loop kernels of every kind and schedule against numpy, in the interpreter, and as machine code."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

pytest.importorskip("triton")

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import evaluate, symbol
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.ir.kernel import LoopKernel, MonoidName
from engineworks.ir.scalar import axis
from engineworks.kernels.cuda.loops import CudaLoops, Parts
from engineworks.kernels.tactic import KernelImage
from engineworks.kernels.workload import Workload
from engineworks.testing.gpu_kernels import compile_image, interpret_image
from engineworks.testing.kernels import reference_loops
from tests.unit.codegen import loop_cases
from tests.unit.codegen.loop_cases import CASES, Case, normal, reduction
from tests.unit.codegen.test_loops import MONOIDS, same, workload

SM_90 = gpu_of("sm_90")
MOST_PROGRAMS = 500
"""The interpreter takes about a hundredth of a second for each."""


def check(case: Case, *, atol: float = 1e-5, most: int = 3) -> None:
    """The first proposed schedule and some of all the others give numpy's result, but for those of many programs."""
    kernel, inputs, dims = case
    expected = reference_loops(kernel, inputs, dims)
    provider = CudaLoops()
    tactics = list(provider.propose(workload(kernel), SM_90, 5))
    chosen = tactics[:: -(-len(tactics) // most)]
    images = [(t, provider.build(workload(kernel), t, SM_90)) for t in chosen]
    quick = [(t, i) for t, i in images if _programs(i, dims) <= MOST_PROGRAMS]
    assert quick
    for tactic, image in quick:
        given = list(zip(inputs, kernel.operands, strict=True))
        got = interpret_image(image, given, kernel.outputs, dims)
        for mine, wanted in zip(got, expected, strict=True):
            same(mine, wanted, atol, tactic.text())


def _programs(image: KernelImage, dims: Mapping[str, int]) -> int:
    return sum(math.prod(evaluate(d, dims) for d in step.grid) for step in image.steps)


@pytest.mark.parametrize("name", CASES)
def test_kernel_matches_numpy(name: str) -> None:
    # Narrow floats are computed in fp32 here and rounded at casts only: one step of f8 at most.
    check(CASES[name](), atol=0.26 if name == "narrow_floats" else 1e-5, most=2 if "pool" in name else 4)


@pytest.mark.parametrize("name", CASES)
def test_kernel_compiles(name: str) -> None:
    kernel, _, _ = CASES[name]()
    provider = CudaLoops()
    (tactic,) = provider.propose(workload(kernel), SM_90, 0)
    compile_image(provider.build(workload(kernel), tactic, SM_90), SM_90)


@pytest.mark.parametrize("arch", ["sm_80", "sm_100"])
@pytest.mark.parametrize(
    "name", ["narrow_floats", "transpose_f16", "softmax_dynamic", "layer_norm", "many_types"]
)
def test_kernel_compiles_for_other_gpus(name: str, arch: str) -> None:
    kernel, _, _ = CASES[name]()
    provider, gpu = CudaLoops(), gpu_of(arch)
    for tactic in provider.propose(workload(kernel), gpu, 1):
        compile_image(provider.build(workload(kernel), tactic, gpu), gpu)


@pytest.mark.parametrize("over", [(1,), (2,), (0, 2)], ids=str)
@pytest.mark.parametrize(("monoid", "dtype"), MONOIDS, ids=str)
def test_reduction_matches_numpy(monoid: MonoidName, dtype: DType, over: tuple[int, ...]) -> None:
    values = normal(6, 35, 11)
    values = values > 1.5 if dtype.kind == "bool" else values if monoid == "prod" else np.round(values * 10)
    check(reduction(monoid, dtype, (6, 35, 11), over, values.astype(dtype.numpy)), atol=1e-4, most=2)


@pytest.mark.parametrize("monoid", ["max", "min"])
def test_extremes_keep_nan(monoid: MonoidName) -> None:
    values = normal(6, 40)
    values[2, 3], values[4, 39] = np.nan, np.nan
    check(reduction(monoid, dtypes.f32, (6, 40), (1,), values))
    check(reduction(monoid, dtypes.f32, (6, 40), (0,), values))


@pytest.mark.parametrize("dtype", [dtypes.f32, dtypes.i32, dtypes.f16, dtypes.i64], ids=str)
@pytest.mark.parametrize("monoid", ["argmax_first", "argmax_last", "argmin_first", "argmin_last"])
def test_arg_reduction_matches_numpy(monoid: MonoidName, dtype: DType) -> None:
    values = np.random.default_rng(0).integers(-4, 4, (5, 50, 9)).astype(dtype.numpy)
    if dtype.is_float:
        values[1, 7, 2] = values[1, 9, 2] = values[3, :, 1] = np.nan
        values[2, :, 3] = -np.inf if "max" in monoid else np.inf
    check(reduction(monoid, dtype, (5, 50, 9), (1,), values), most=1)
    check(reduction(monoid, dtype, (5, 50, 9), (2,), values), most=1)


@pytest.mark.parametrize("over", [(0,), (1,)], ids=str)
def test_reductions_of_nothing_give_the_identity(over: tuple[int, ...]) -> None:
    shape = (0, 5) if over == (0,) else (5, 0)
    check(reduction("sum", dtypes.f32, shape, over, normal(*shape)))


@pytest.mark.parametrize("count", [1, 17, 127, 1000])
def test_every_length_of_row(count: int) -> None:
    x = loop_cases.tensor(3, count)
    body = loop_cases.relu(loop_cases.read(0, *loop_cases.A[:2]))
    check((loop_cases.pointwise((3, count), [x], body), [normal(3, count)], {}))
    check(loop_cases.softmax(3, count, normal(3, count), {}))


def test_strings_and_other_workloads_are_refused() -> None:
    text = loop_cases.tensor(3, dtype=dtypes.string)
    kernel = loop_cases.pointwise((3,), [text], loop_cases.read(0, loop_cases.A[0], dtype=dtypes.string))
    with pytest.raises(NoTactic, match="strings"):
        list(CudaLoops().propose(workload(kernel), SM_90, 3))
    with pytest.raises(NoTactic, match="loop nests"):
        list(CudaLoops().propose(Workload(None, (), 0, ()), SM_90, 3))


@pytest.mark.parametrize(
    ("shape", "over"),
    [((1 << 14,), (0,)), ((90, 99), (0, 1)), ((2, 17001), (1,)), ((2, 3, 9001), (0, 2))],
    ids=str,
)
@pytest.mark.parametrize("monoid", ["sum", "max", "prod"])
def test_few_long_rows_are_reduced_in_parts(
    shape: tuple[int, ...], over: tuple[int, ...], monoid: MonoidName
) -> None:
    values = normal(*shape) if monoid != "prod" else np.exp(normal(*shape) * 1e-3)
    check_parts(reduction(monoid, dtypes.f32, shape, over, values), atol=1e-3)


def test_rows_that_are_walked_again_are_shared_too() -> None:
    check_parts(loop_cases.softmax(2, 8192, normal(2, 8192), {}), atol=1e-5)
    check_parts(loop_cases.softmax(2, 8192, normal(8192, 2), {}, last=False), atol=1e-5)
    check_parts(loop_cases.layer_norm(3, 6000), atol=1e-4)


def check_parts(case: Case, atol: float) -> None:
    kernel, inputs, dims = case
    tactics = [t for t in CudaLoops().propose(workload(kernel), SM_90, 5) if isinstance(t.config, Parts)]
    image = CudaLoops().build(workload(kernel), tactics[0], SM_90)
    assert len(image.steps) > 1
    got = interpret_image(image, list(zip(inputs, kernel.operands, strict=True)), kernel.outputs, dims)
    for mine, wanted in zip(got, reference_loops(kernel, inputs, dims), strict=True):
        same(mine, wanted, atol, tactics[0].text())


def test_sizes_without_bounds_are_indexed_in_64_bits() -> None:
    rows, length = symbol("R", 0), symbol("L", 0)
    check(loop_cases.softmax(rows, length, normal(5, 37), {"R": 5, "L": 37}), most=3)
    check(loop_cases.softmax(rows, length, normal(37, 5), {"R": 5, "L": 37}, last=False), most=3)
    case = loop_cases.pointwise(
        (rows, length), [loop_cases.tensor(length, rows)], loop_cases.read(0, axis(1), axis(0))
    )
    check((case, [normal(37, 5)], {"R": 5, "L": 37}), most=3)
    assert "tl.int64" in text_of(case)
    assert "tl.int64" not in text_of(CASES["dynamic_transpose"]()[0])


def test_empty_domains_known_only_at_run_time() -> None:
    rows, length = symbol("R", 0, 64), symbol("L", 0, 64)
    for sizes in ((0, 5), (5, 0)):
        case = loop_cases.softmax(rows, length, normal(*sizes), {"R": sizes[0], "L": sizes[1]})
        check(case, most=3)


def text_of(kernel: LoopKernel) -> str:
    (tactic,) = CudaLoops().propose(workload(kernel), SM_90, 0)
    (function,) = CudaLoops().build(workload(kernel), tactic, SM_90).functions.values()
    return function.text


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_means_and_variances_of_parts_come_from_one_walk(offset: float) -> None:
    kernel, inputs, dims = loop_cases.layer_norm(2, 6144)
    inputs[0] = inputs[0] + np.float32(offset)
    tactics = [t for t in CudaLoops().propose(workload(kernel), SM_90, 5) if isinstance(t.config, Parts)]
    assert len(tactics[0].config.schedules) == 2
    check_parts((kernel, inputs, dims), atol=1e-3 if offset else 1e-5)
