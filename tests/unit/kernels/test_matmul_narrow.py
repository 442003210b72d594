"""Products of narrow operands against numpy: exact for integers, in float64 for floats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate
from engineworks.core.target import host
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.gemv import CpuGemv
from engineworks.kernels.cpu.matmul import CpuMatMul
from engineworks.kernels.cpu.matmul_amx import CpuMatMulAmx
from engineworks.kernels.tactic import Tactic
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.testing.kernels import run_image

PROVIDERS = {p.name: p for p in (CpuMatMulAmx(), CpuMatMul(), CpuGemv())}
ISAS = [
    AVX2,
    AVX2.with_extras("avxvnni"),
    AVX512,
    AVX512.with_extras("avx512vnni", "avx512bf16"),
]
FLOATS = [("bf16", "bf16"), ("f16", "f16"), ("f32", "bf16"), ("f32", "f16"), ("bf16", "f32"), ("f16", "bf16")]
TILES = AVX512.with_extras("amx-tile", "amx-bf16", "amx-int8")
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
    assert check(work, runnable(TILES), provider="amx")


@pytest.mark.parametrize("isa", ISAS, ids=isa_id)
@pytest.mark.parametrize("pair", [*FLOATS, *BYTES], ids="-".join)
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_registers(isa: Isa, pair: tuple[str, str], m: int, k: int, n: int) -> None:
    left, right = pair
    for constant in (True, False):
        work = matmul(tensor(left, m, k), tensor(right, k, n), constant=constant)
        assert check(work, runnable(isa), effort=2)
