"""Loop kernels of every kind, all schedules, both instruction sets, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.codegen.llvm.loops_nest import nest_of
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.ir.kernel import LoopKernel, MonoidName
from engineworks.kernels.cpu.loops import CpuLoops
from engineworks.kernels.workload import Operand, Workload
from engineworks.testing.kernels import reference_loops, run_image
from tests.unit.codegen import loop_cases
from tests.unit.codegen.loop_cases import CASES, Case, normal, reduction

ISAS = pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda isa: isa.name)
TOLERANCE = {"f16": 2e-3, "bf16": 1.6e-2, "f64": 1e-12, "f8e4m3": 0.0}


def workload(kernel: LoopKernel) -> Workload:
    return Workload(
        None, tuple(Operand(t) for t in kernel.operands), len(kernel.operands), kernel.outputs, None, kernel
    )


def check(case: Case, isa: Isa, *, effort: int = 5, atol: float = 1e-5) -> None:
    """Every proposed schedule gives numpy's result, in one call and with the tasks split over three."""
    kernel, inputs, dims = case
    expected = reference_loops(kernel, inputs, dims)
    provider = CpuLoops()
    for tactic in provider.propose(workload(kernel), isa, effort):
        image = provider.build(workload(kernel), tactic, isa)
        given = list(zip(inputs, kernel.operands, strict=True))
        for got, wanted in zip(
            run_image(image, given, kernel.outputs, isa, dims, split=3), expected, strict=True
        ):
            same(got, wanted, atol, tactic.text())


def same(got: np.ndarray, wanted: np.ndarray, atol: float, message: str) -> None:
    if got.dtype.kind in "iub":
        np.testing.assert_array_equal(got, wanted, err_msg=message)
        return
    rtol = TOLERANCE.get(dtypes.from_numpy(got.dtype).name, 1e-5)
    np.testing.assert_allclose(
        got.astype(np.float64), wanted.astype(np.float64), rtol=rtol, atol=atol, err_msg=message
    )


@ISAS
@pytest.mark.parametrize("name", CASES)
def test_kernel_matches_numpy(name: str, isa: Isa) -> None:
    check(CASES[name](), isa)


MONOIDS: list[tuple[MonoidName, DType]] = [
    ("sum", dtypes.f32), ("max", dtypes.f32), ("min", dtypes.i32), ("prod", dtypes.f32), ("any", dtypes.bool_),
    ("all", dtypes.bool_), ("sum", dtypes.i64), ("sum", dtypes.f16), ("max", dtypes.bf16), ("sum", dtypes.bf16),
    ("max", dtypes.u8), ("min", dtypes.i8), ("sum", dtypes.f64),
]  # fmt: skip


@ISAS
@pytest.mark.parametrize("over", [(1,), (2,), (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize(("monoid", "dtype"), MONOIDS, ids=str)
def test_reduction_matches_numpy(monoid: MonoidName, dtype: DType, over: tuple[int, ...], isa: Isa) -> None:
    values = normal(6, 35, 11)
    values = values > 1.5 if dtype.kind == "bool" else values if monoid == "prod" else np.round(values * 10)
    check(reduction(monoid, dtype, (6, 35, 11), over, values.astype(dtype.numpy)), isa, effort=2, atol=1e-4)


@ISAS
@pytest.mark.parametrize("monoid", ["max", "min"])
def test_extremes_keep_nan(monoid: MonoidName, isa: Isa) -> None:
    values = normal(6, 40)
    values[2, 3], values[4, 39] = np.nan, np.nan
    check(reduction(monoid, dtypes.f32, (6, 40), (1,), values), isa)
    check(reduction(monoid, dtypes.f32, (6, 40), (0,), values), isa)


@ISAS
@pytest.mark.parametrize("dtype", [dtypes.f32, dtypes.i32, dtypes.f16, dtypes.i64], ids=str)
@pytest.mark.parametrize("monoid", ["argmax_first", "argmax_last", "argmin_first", "argmin_last"])
def test_arg_reduction_matches_numpy(monoid: MonoidName, dtype: DType, isa: Isa) -> None:
    values = np.random.default_rng(0).integers(-4, 4, (5, 50, 9)).astype(dtype.numpy)
    if dtype.is_float:
        values[1, 7, 2] = values[1, 9, 2] = values[3, :, 1] = np.nan
        values[2, :, 3] = -np.inf if "max" in monoid else np.inf
    check(reduction(monoid, dtype, (5, 50, 9), (1,), values), isa, effort=2)
    check(reduction(monoid, dtype, (5, 50, 9), (2,), values), isa, effort=2)


@pytest.mark.parametrize("over", [(0,), (1,)], ids=str)
def test_reductions_of_nothing_give_the_identity(over: tuple[int, ...]) -> None:
    shape = (0, 5) if over == (0,) else (5, 0)
    check(reduction("sum", dtypes.f32, shape, over, normal(*shape)), AVX512)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 63, 64, 65, 127, 1000, 4099])
def test_every_length_of_row(count: int) -> None:
    x = loop_cases.tensor(3, count)
    body = loop_cases.relu(loop_cases.read(0, *loop_cases.A[:2]))
    check((loop_cases.pointwise((3, count), [x], body), [normal(3, count)], {}), AVX512)
    check(loop_cases.softmax(3, count, normal(3, count), {}), AVX512, effort=2)


@pytest.mark.parametrize("over", [(0,), (1,)], ids=str)
def test_long_sums_stay_accurate(over: tuple[int, ...]) -> None:
    values = (
        np.random.default_rng(1)
        .uniform(0, 1, (1 << 18, 2) if over == (0,) else (2, 1 << 18))
        .astype(np.float32)
    )
    kernel, _, _ = reduction("sum", dtypes.f32, values.shape, over, values)
    provider = CpuLoops()
    (tactic,) = provider.propose(workload(kernel), AVX512, 0)
    (got,) = run_image(
        provider.build(workload(kernel), tactic, AVX512),
        [(values, kernel.operands[0])],
        kernel.outputs,
        AVX512,
    )
    np.testing.assert_allclose(got, values.sum(over, dtype=np.float64), rtol=2e-6)


@pytest.mark.parametrize(
    ("shape", "over"),
    [((1 << 17,), (0,)), ((300, 333), (0, 1)), ((2, 70001), (1,)), ((4, 3, 30011), (0, 2))],
    ids=str,
)
@pytest.mark.parametrize("monoid", ["sum", "max", "prod"])
def test_few_long_rows_are_reduced_in_parts(
    shape: tuple[int, ...], over: tuple[int, ...], monoid: MonoidName
) -> None:
    values = normal(*shape) if monoid != "prod" else np.exp(normal(*shape) * 1e-3)
    case = reduction(monoid, dtypes.f32, shape, over, values)
    (tactic,) = CpuLoops().propose(workload(case[0]), AVX512, 0)
    image = CpuLoops().build(workload(case[0]), tactic, AVX512)
    assert len(image.steps) == 2
    check(case, AVX512, effort=1, atol=1e-3)


def test_contiguous_pointwise_kernel_is_one_flat_loop() -> None:
    x = loop_cases.tensor(2, 20, 5, 7, layout=loop_cases.NHWC)
    body = loop_cases.read(0, *loop_cases.A[:4]) * 2
    nest = nest_of(loop_cases.pointwise(x.shape, [x], body, loop_cases.NHWC))
    assert list(nest.extents.values()) == [1400]


def test_reshape_becomes_affine() -> None:
    kernel, _, _ = CASES["reshape"]()
    nest = nest_of(kernel)
    assert list(nest.extents.values()) == [96]


def test_padding_loads_are_guarded_and_plain_ones_are_not() -> None:
    from engineworks.ir.scalar import leaves_of

    padded, _, _ = CASES["pad_rows"]()
    masked, _, _ = CASES["triangle"]()
    assert [len(n.args) for n in leaves_of(nest_of(padded).stages[0].body, "load")] == [2]
    assert [len(n.args) for n in leaves_of(nest_of(masked).stages[0].body, "load")] == [1]


def test_softmax_computes_exp_once() -> None:
    kernel, _, _ = CASES["softmax"]()
    last = nest_of(kernel).stages[-1].body
    assert "exp" not in str(last)


def test_symbols_name_everything_the_code_depends_on() -> None:
    kernel, _, _ = CASES["softmax"]()
    provider = CpuLoops()
    names = {
        symbol
        for isa in (AVX512, AVX2)
        for tactic in provider.propose(workload(kernel), isa, 5)
        for symbol in provider.build(workload(kernel), tactic, isa).functions
    }
    assert len(names) == sum(len(list(provider.propose(workload(kernel), isa, 5))) for isa in (AVX512, AVX2))


def test_strings_and_other_workloads_are_refused() -> None:
    text = loop_cases.tensor(3, dtype=dtypes.string)
    kernel = loop_cases.pointwise((3,), [text], loop_cases.read(0, loop_cases.A[0], dtype=dtypes.string))
    with pytest.raises(NoTactic, match="strings"):
        list(CpuLoops().propose(workload(kernel), AVX512, 3))
    with pytest.raises(NoTactic, match="loop nests"):
        list(CpuLoops().propose(Workload(None, (), 0, ()), AVX512, 3))
