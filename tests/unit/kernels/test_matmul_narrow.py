"""Products of narrow operands against numpy: exact for integers, in float64 for floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa, required_features
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate, symbol
from engineworks.core.target import host
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import apply, argument, cast, const
from engineworks.kernels.cpu.gemv import CpuGemv
from engineworks.kernels.cpu.matmul import CpuMatMul
from engineworks.kernels.cpu.matmul_amx import CpuMatMulAmx
from engineworks.kernels.cpu.matmul_dot import CpuMatMulDot
from engineworks.kernels.cpu.matmul_emit import MatMulConfig
from engineworks.kernels.tactic import Tactic
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.testing.kernels import run_image

PROVIDERS = {p.name: p for p in (CpuMatMulAmx(), CpuMatMul(), CpuGemv(), CpuMatMulDot())}
ISAS = [
    AVX2,
    AVX2.with_extras("avxvnni"),
    AVX512,
    AVX512.with_extras("avx512vnni", "avx512bf16"),
]
FLOATS = [("bf16", "bf16"), ("f16", "f16"), ("f32", "bf16"), ("f32", "f16"), ("bf16", "f32"), ("f16", "bf16")]
TILES = AVX512.with_extras("amx-tile", "amx-bf16", "amx-int8")
EVERYTHING = TILES.with_extras("avx512vnni", "avx512bf16")
BYTES = [("i8", "i8"), ("i8", "u8"), ("u8", "i8"), ("u8", "u8")]
SHAPES = [(1, 1, 1), (2, 3, 5), (17, 65, 33), (33, 128, 64), (40, 70, 100), (5, 200, 130)]


def isa_id(isa: Isa) -> str:
    return "+".join([isa.name, *sorted(isa.extras)])


def runnable(isa: Isa) -> Isa:
    if not isa.extras <= set(host().features):
        pytest.skip(f"this CPU lacks {isa.extras - set(host().features)}")
    return isa


def tensor(dtype: str, *shape: Dim, order: Sequence[int] | None = None, pad: int = 0) -> TensorType:
    layout = Layout(tuple(order or range(len(shape))), pad)
    return TensorType(dtypes.by_name(dtype), tuple(shape)).with_layout(layout)


def matmul(
    a: TensorType,
    b: TensorType,
    *,
    constant: bool = True,
    out_order: Sequence[int] | None = None,
    epilogue: Epilogue | None = None,
    extra: Sequence[TensorType] = (),
    result: TensorType | None = None,
) -> Workload:
    anchor = MatMul(out_dtype=dtypes.f32 if a.dtype.is_float else dtypes.i32)
    (out,) = anchor.infer(a, b)
    out = result or out
    if out_order:
        out = out.with_layout(Layout(tuple(out_order)))
    inputs = (Operand(a), Operand(b, constant), *(Operand(t) for t in extra))
    return Workload(anchor, inputs, 2, (out,), epilogue)


def random(rng: np.random.Generator, t: TensorType, **dims: int) -> np.ndarray:
    shape = [evaluate(d, dims) for d in t.shape]
    if t.dtype.is_float:
        return rng.standard_normal(shape).astype(t.dtype.numpy)
    limits = np.iinfo(t.dtype.numpy)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(t.dtype.numpy)


def run(work: Workload, isa: Isa, tactic: Tactic, arrays: Sequence[np.ndarray], **dims: int) -> np.ndarray:
    types = [o.type for o in work.inputs if o is not None]
    image = PROVIDERS[tactic.provider].build(work, tactic, isa)
    (got,) = run_image(image, list(zip(arrays, types, strict=True)), work.outputs, isa, dims, split=3)
    return got


def check(work: Workload, isa: Isa, *, provider: str = "", effort: int = 5, **dims: int) -> int:
    """Every tactic gives a @ b; how many there were."""
    rng = np.random.default_rng(0)
    arrays = [random(rng, o.type, **dims) for o in work.inputs if o is not None]
    wide = np.float64 if arrays[0].dtype.kind not in "iu" else np.int64
    left, right = arrays[0].astype(wide), arrays[1].astype(wide)
    expected = np.matmul(left, right)
    tactics = [t for t in tactics_of(work, isa, effort) if provider in t.provider]
    for tactic in tactics:
        got = run(work, isa, tactic, arrays, **dims)
        assert got.shape == expected.shape
        if wide is np.int64:
            np.testing.assert_array_equal(got, expected.astype(np.int32), tactic.text())
            continue
        bound = 1e-5 * np.matmul(np.abs(left), np.abs(right)) + 1e-6
        assert (np.abs(got - expected) <= bound).all(), f"{tactic.text()}: {np.abs(got - expected).max()}"
    return len(tactics)


def tactics_of(work: Workload, isa: Isa, effort: int = 5) -> list[Tactic]:
    found: list[Tactic] = []
    for provider in PROVIDERS.values():
        try:
            found += provider.propose(work, isa, effort)
        except NoTactic:
            continue
    return found


@pytest.mark.parametrize("pair", [("bf16", "bf16"), *BYTES], ids="-".join)
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_tiles_with_constant_right_sides(pair: tuple[str, str], m: int, k: int, n: int) -> None:
    left, right = pair
    assert check(matmul(tensor(left, m, k), tensor(right, k, n)), runnable(TILES), provider="amx")


@pytest.mark.parametrize("pair", [("bf16", "bf16"), *BYTES], ids="-".join)
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_tiles_with_right_sides_known_only_at_run_time(
    pair: tuple[str, str], m: int, k: int, n: int, order: tuple[int, int]
) -> None:
    left, right = pair
    work = matmul(tensor(left, m, k, pad=1), tensor(right, k, n, order=order, pad=2), constant=False)
    assert check(work, runnable(TILES), provider="amx", effort=2)


@pytest.mark.parametrize("isa", ISAS, ids=isa_id)
@pytest.mark.parametrize("pair", [*FLOATS, *BYTES], ids="-".join)
def test_registers(isa: Isa, pair: tuple[str, str]) -> None:
    left, right = pair
    for constant, shapes in ((True, SHAPES[1:5:2]), (False, SHAPES[0:6:2])):
        for m, k, n in shapes:
            work = matmul(tensor(left, m, k), tensor(right, k, n), constant=constant)
            assert check(work, runnable(isa), effort=1)


@pytest.mark.parametrize(
    "pair", [("f32", "bf16"), ("f32", "f16"), ("bf16", "bf16"), ("i8", "i8")], ids="-".join
)
@pytest.mark.parametrize("isa", [AVX2, ISAS[-1]], ids=isa_id)
def test_every_form_for_a_few_rows(isa: Isa, pair: tuple[str, str]) -> None:
    work = matmul(tensor(pair[0], 3, 67), tensor(pair[1], 67, 70))
    forms = {t.config.form for t in tactics_of(work, isa) if isinstance(t.config, MatMulConfig)}
    assert len(forms) > 1 or isa.name == "avx2"
    check(work, runnable(isa), provider="gemv")


@pytest.mark.parametrize(("left", "right"), [("bf16", "bf16"), ("u8", "i8")])
def test_every_number_of_rows(left: str, right: str) -> None:
    for rows in range(1, 41):
        work = matmul(tensor(left, rows, 70), tensor(right, 70, 20))
        check(work, runnable(EVERYTHING), provider="amx", effort=1)
        if rows % 7 == 0:
            check(work, EVERYTHING, provider="cpu.matmul", effort=1)


@pytest.mark.parametrize(("left", "right"), [("bf16", "bf16"), ("i8", "i8")])
@pytest.mark.parametrize("isa", [EVERYTHING, AVX2], ids=isa_id)
def test_unknown_sizes(isa: Isa, left: str, right: str) -> None:
    rows, depth, columns = symbol("M"), symbol("K"), symbol("N")
    constant = matmul(tensor(left, rows, 72), tensor(right, 72, 40))
    for size in (1, 16, 31, 33, 100):
        assert check(constant, runnable(isa), effort=1, M=size)
    work = matmul(tensor(left, 2, rows, depth), tensor(right, 2, depth, columns), constant=False)
    for m, k, n in ((1, 1, 1), (18, 131, 33), (70, 64, 64)):
        assert check(work, isa, effort=1, M=m, K=k, N=n)


@pytest.mark.parametrize(("left", "right"), [("bf16", "bf16"), ("f16", "f16"), ("u8", "i8"), ("i8", "i8")])
@pytest.mark.parametrize("isa", [EVERYTHING, AVX2], ids=isa_id)
def test_batches_and_transposed_operands_and_results(isa: Isa, left: str, right: str) -> None:
    for constant in (True, False):
        for a, b in (((2, 3, 9, 40), (3, 40, 17)), ((3, 9, 8), (2, 1, 8, 17)), ((2, 3, 4, 5), (5, 6))):
            assert check(
                matmul(tensor(left, *a), tensor(right, *b), constant=constant), runnable(isa), effort=1
            )
        for a_order, out_order in (((1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 0), (1, 0))):
            a, b = tensor(left, 19, 70, order=a_order, pad=3), tensor(right, 70, 37, order=(1, 0))
            assert check(matmul(a, b, constant=constant, out_order=out_order), isa, effort=1)


@pytest.mark.parametrize("isa", [EVERYTHING, ISAS[-1], AVX2], ids=isa_id)
def test_sums_of_bytes_are_scaled_shifted_and_stored_as_bytes(isa: Isa) -> None:
    total = cast(argument(0, dtypes.i32), dtypes.f32)
    scaled = apply("fma", total, argument(1, dtypes.f32), argument(2, dtypes.f32))
    shifted = apply("round_even", scaled)
    clamped = apply("min", apply("max", shifted, const(-128.0, dtypes.f32)), const(127.0, dtypes.f32))
    epilogue = Epilogue(cast(clamped, dtypes.i8), ("channel", "full"))
    for m, k, n in ((37, 70, 45), (64, 64, 64)):
        extra = [tensor("f32", n), tensor("f32", m, n)]
        work = matmul(
            tensor("u8", m, k), tensor("i8", k, n), epilogue=epilogue, extra=extra, result=tensor("i8", m, n)
        )
        rng = np.random.default_rng(1)
        arrays = [random(rng, o.type) for o in work.inputs if o is not None]
        arrays[2] = (rng.random(n) * 4e-3).astype(np.float32)
        product = arrays[0].astype(np.int64) @ arrays[1].astype(np.int64)
        wide = product.astype(np.float64) * arrays[2] + arrays[3]
        expected = np.clip(np.rint(wide.astype(np.float32)), -128, 127)
        for tactic in tactics_of(work, runnable(isa), 1):
            np.testing.assert_array_equal(run(work, isa, tactic, arrays), expected, tactic.text())


def test_results_of_the_operands_dtype_round_the_sums_before_the_epilogue() -> None:
    a, b = tensor("bf16", 20, 64), tensor("bf16", 64, 48)
    doubled = apply("add", argument(0, dtypes.bf16), argument(0, dtypes.bf16))
    work = replace(matmul(a, b, epilogue=Epilogue(doubled), result=tensor("bf16", 20, 48)), anchor=MatMul())
    rng = np.random.default_rng(0)
    arrays = [random(rng, t) for t in (a, b)]
    wide = arrays[0].astype(np.float64) @ arrays[1].astype(np.float64)
    for isa in (EVERYTHING, AVX2):
        for tactic in tactics_of(work, runnable(isa), 1):
            got = run(work, isa, tactic, arrays).astype(np.float64)
            np.testing.assert_allclose(got, 2 * wide, rtol=1e-2, atol=1e-3, err_msg=tactic.text())


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=isa_id)
def test_few_rows_by_columns_where_they_lie(isa: Isa, dtype: str) -> None:
    work = matmul(tensor(dtype, 2, 3, 70), tensor(dtype, 2, 70, 37, order=(0, 2, 1)), constant=False)
    assert check(work, runnable(isa), provider="dot")


@pytest.mark.parametrize(
    ("isa", "left", "right", "needs"),
    [
        (EVERYTHING, "bf16", "bf16", {"amx-tile,amx-bf16", "avx512bf16", ""}),
        (EVERYTHING, "u8", "i8", {"amx-tile,amx-int8", "avx512vnni"}),
        (EVERYTHING, "f32", "bf16", {""}),
        (AVX512, "i8", "i8", {""}),
        (AVX2, "bf16", "bf16", {""}),
    ],
)
def test_kernels_ask_for_the_features_that_they_use(isa: Isa, left: str, right: str, needs: set[str]) -> None:
    work = matmul(tensor(left, 20, 40), tensor(right, 40, 30))
    found = set()
    for tactic in tactics_of(work, isa):
        functions = PROVIDERS[tactic.provider].build(work, tactic, isa).functions.values()
        found.add(",".join(sorted({f for text in functions for f in required_features(text)}, reverse=True)))
    assert found == needs


def test_targets_and_dtypes_without_a_product_are_refused_with_a_reason() -> None:
    with pytest.raises(NoTactic, match="no tile registers"):
        CpuMatMulAmx().propose(matmul(tensor("i8", 4, 4), tensor("i8", 4, 4)), AVX512, 3)
    with pytest.raises(NoTactic, match="no tile instruction multiplies f16"):
        CpuMatMulAmx().propose(matmul(tensor("f16", 4, 4), tensor("f16", 4, 4)), TILES, 3)
