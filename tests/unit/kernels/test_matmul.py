"""f32 matmul kernels against numpy in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate, symbol
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import apply, argument, const
from engineworks.kernels.cpu.gemv import CpuGemv
from engineworks.kernels.cpu.matmul import CpuMatMul
from engineworks.kernels.cpu.matmul_dot import CpuMatMulDot
from engineworks.kernels.tactic import Tactic
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.testing.kernels import run_image

PROVIDERS = {p.name: p for p in (CpuMatMul(), CpuGemv(), CpuMatMulDot())}
ISAS = pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)


def tensor(*shape: Dim, order: Sequence[int] | None = None, pad: int = 0) -> TensorType:
    layout = Layout(tuple(order or range(len(shape))), pad)
    return TensorType(dtypes.f32, tuple(shape)).with_layout(layout)


def matmul(
    a: TensorType,
    b: TensorType,
    *,
    constant: bool = False,
    out_order: Sequence[int] | None = None,
    epilogue: Epilogue | None = None,
    extra: Sequence[TensorType] = (),
) -> Workload:
    (out,) = MatMul().infer(a, b)
    if out_order:
        out = out.with_layout(Layout(tuple(out_order)))
    inputs = (Operand(a), Operand(b, constant), *(Operand(t) for t in extra))
    return Workload(MatMul(), inputs, 2, (out,), epilogue)


def check(work: Workload, isa: Isa, tactics: Sequence[Tactic], split: int = 3, **dims: int) -> None:
    """Every tactic gives a @ b within a few roundings of each sum."""
    rng = np.random.default_rng(0)
    types = [o.type for o in work.inputs if o is not None]
    arrays = [rng.standard_normal([evaluate(d, dims) for d in t.shape]).astype(t.dtype.numpy) for t in types]
    expected = np.matmul(arrays[0].astype(np.float64), arrays[1].astype(np.float64))
    for tactic in tactics:
        image = PROVIDERS[tactic.provider].build(work, tactic, isa)
        (got,) = run_image(image, list(zip(arrays, types, strict=True)), work.outputs, isa, dims, split=split)
        bound = 1e-6 * np.matmul(np.abs(arrays[0]), np.abs(arrays[1])) + 1e-6
        assert got.shape == expected.shape
        assert (np.abs(got - expected) <= bound).all(), f"{tactic.text()}: {np.abs(got - expected).max()}"


def all_tactics(work: Workload, isa: Isa, effort: int = 5) -> list[Tactic]:
    return list(CpuMatMul().propose(work, isa, effort))


@ISAS
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 40, 70), (3, 7, 5), (17, 33, 50), (40, 64, 96), (31, 1, 1), (250, 20, 48)]
)
def test_constant_right_side(isa: Isa, m: int, k: int, n: int) -> None:
    work = matmul(tensor(m, k), tensor(k, n), constant=True)
    check(work, isa, all_tactics(work, isa))


@ISAS
def test_right_side_known_only_at_run_time_is_packed_or_read_in_place(isa: Isa) -> None:
    work = matmul(tensor(29, 33), tensor(33, 50))
    tactics = all_tactics(work, isa)
    assert {t.config.right for t in tactics} == {"packed", "direct"}
    check(work, isa, tactics)


@ISAS
@pytest.mark.parametrize(
    ("a_order", "b_order", "out_order"),
    [
        ((1, 0), (0, 1), (0, 1)),
        ((0, 1), (1, 0), (0, 1)),
        ((1, 0), (1, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 0)),
        ((1, 0), (0, 1), (1, 0)),
    ],
)
def test_transposed_operands_and_results(isa: Isa, a_order, b_order, out_order) -> None:
    for constant in (False, True):
        work = matmul(
            tensor(19, 21, order=a_order, pad=3),
            tensor(21, 37, order=b_order),
            out_order=out_order,
            constant=constant,
        )
        check(work, isa, all_tactics(work, isa, 3))


@ISAS
def test_batches_broadcast(isa: Isa) -> None:
    for a, b in (
        ((2, 3, 9, 8), (3, 8, 17)),
        ((3, 9, 8), (2, 1, 8, 17)),
        ((5, 1, 8), (8, 40)),
        ((2, 3, 4, 5), (5, 6)),
    ):
        for constant in (False, True):
            work = matmul(tensor(*a), tensor(*b), constant=constant)
            check(work, isa, all_tactics(work, isa, 2))


@ISAS
def test_heads_lying_between_rows_as_in_attention(isa: Isa) -> None:
    q, k = tensor(2, 3, 20, 32, order=(0, 2, 1, 3)), tensor(2, 3, 32, 24, order=(0, 3, 1, 2))
    check(matmul(q, k), isa, all_tactics(matmul(q, k), isa, 2))
    p, v = tensor(2, 3, 20, 24), tensor(2, 3, 24, 32, order=(0, 2, 1, 3))
    work = matmul(p, v, out_order=(0, 2, 1, 3))
    check(work, isa, all_tactics(work, isa, 2))


@ISAS
@pytest.mark.parametrize("rows", [1, 5, 14, 27, 64, 251])
def test_symbolic_rows_with_weights(isa: Isa, rows: int) -> None:
    work = matmul(tensor(symbol("N"), 24), tensor(24, 50), constant=True)
    check(work, isa, all_tactics(work, isa, 2), N=rows)


@ISAS
@pytest.mark.parametrize(
    ("m", "k", "n", "b"), [(1, 1, 1, 1), (20, 18, 35, 2), (7, 64, 16, 3), (33, 5, 100, 1)]
)
def test_everything_symbolic(isa: Isa, m: int, k: int, n: int, b: int) -> None:
    B, M, K, N = (symbol(s) for s in "BMKN")
    work = matmul(tensor(B, M, K), tensor(B, K, N))
    check(work, isa, all_tactics(work, isa, 3), B=b, M=m, K=k, N=n)
    work = matmul(tensor(B, M, K), tensor(B, K, N, order=(0, 2, 1)))
    check(work, isa, all_tactics(work, isa, 2), B=b, M=m, K=k, N=n)


@ISAS
@pytest.mark.parametrize(("m", "k", "n"), [(0, 4, 5), (4, 0, 5), (4, 5, 0)])
def test_empty_sizes(isa: Isa, m: int, k: int, n: int) -> None:
    for constant in (False, True):
        work = matmul(tensor(m, k), tensor(k, n), constant=constant)
        check(work, isa, all_tactics(work, isa, 0))
    M, K, N = (symbol(s, lo=0) for s in "MKN")
    work = matmul(tensor(M, K), tensor(K, N))
    check(work, isa, all_tactics(work, isa, 2), M=m, K=k, N=n)


@ISAS
def test_rows_a_power_of_two_apart_may_be_copied_first(isa: Isa) -> None:
    work = matmul(tensor(40, 1024), tensor(1024, 32), constant=True)
    tactics = all_tactics(work, isa)
    padded = [t for t in tactics if t.config.left == "padded"]
    assert padded
    check(work, isa, padded[:2])


@ISAS
def test_epilogue_with_bias_residual_and_scalar(isa: Isa) -> None:
    acc, bias, residual, scale = (argument(k, dtypes.f32) for k in range(4))
    expression = apply("max", (acc + bias) * scale + residual, const(0, dtypes.f32))
    epilogue = Epilogue(expression, ("channel", "full", "scalar"))
    for n in (48, 50):
        extra = (tensor(n), tensor(30, n), tensor())
        work = matmul(tensor(30, 20), tensor(20, n), constant=True, epilogue=epilogue, extra=extra)
        rng = np.random.default_rng(1)
        arrays = [rng.standard_normal(o.type.shape).astype(np.float32) for o in work.inputs]
        a, b, c, r, s = (x.astype(np.float64) for x in arrays)
        expected = np.maximum((a @ b + c) * s + r, 0)
        for tactic in all_tactics(work, isa, 3):
            image = CpuMatMul().build(work, tactic, isa)
            (got,) = run_image(
                image,
                [(x, o.type) for x, o in zip(arrays, work.inputs, strict=True)],
                work.outputs,
                isa,
                split=2,
            )
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@ISAS
def test_long_depths_are_taken_in_blocks(isa: Isa) -> None:
    work = matmul(tensor(2, 9, 1600), tensor(1600, 40), constant=True)
    tactics = [t for t in all_tactics(work, isa) if t.config.depth_block]
    assert tactics
    check(work, isa, tactics[:3])


@ISAS
@pytest.mark.parametrize(("m", "k", "n"), [(1, 128, 1000), (1, 3, 5), (3, 70, 33), (4, 64, 128)])
def test_gemv(isa: Isa, m: int, k: int, n: int) -> None:
    work = matmul(tensor(m, k), tensor(k, n), constant=True)
    check(work, isa, list(CpuGemv().propose(work, isa, 3)))


def test_gemv_refuses_many_rows() -> None:
    work = matmul(tensor(5, 8), tensor(8, 9), constant=True)
    with pytest.raises(NoTactic, match="at most 4 rows"):
        list(CpuGemv().propose(work, AVX512, 3))


@ISAS
@pytest.mark.parametrize(("m", "k", "n"), [(1, 64, 40), (3, 7, 5), (8, 33, 130), (2, 0, 3)])
def test_dot_products_of_contiguous_columns(isa: Isa, m: int, k: int, n: int) -> None:
    work = matmul(tensor(2, m, k), tensor(2, k, n, order=(0, 2, 1)))
    check(work, isa, list(CpuMatMulDot().propose(work, isa, 3)))
    K, N = symbol("K", lo=0), symbol("N")
    work = matmul(tensor(2, m, K), tensor(2, K, N, order=(0, 2, 1)))
    check(work, isa, list(CpuMatMulDot().propose(work, isa, 3)), K=k, N=n)


@ISAS
def test_matrix_times_vector(isa: Isa) -> None:
    work = matmul(tensor(50, 40), tensor(40, 1))
    check(work, isa, [*CpuMatMulDot().propose(work, isa, 3), *CpuMatMul().propose(work, isa, 1)])


@ISAS
def test_bias_of_a_single_column(isa: Isa) -> None:
    expression = argument(0, dtypes.f32) + argument(1, dtypes.f32)
    work = matmul(
        tensor(20, 9), tensor(9, 1), epilogue=Epilogue(expression, ("channel",)), extra=(tensor(1),)
    )
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(o.type.shape).astype(np.float32) for o in work.inputs if o is not None)
    for provider in (CpuMatMul(), CpuMatMulDot()):
        for tactic in provider.propose(work, isa, 1):
            given = [(x, o.type) for x, o in zip((a, b, c), work.inputs, strict=True) if o is not None]
            (got,) = run_image(provider.build(work, tactic, isa), given, work.outputs, isa)
            np.testing.assert_allclose(got, a.astype(np.float64) @ b + c, rtol=1e-5, atol=1e-5)
