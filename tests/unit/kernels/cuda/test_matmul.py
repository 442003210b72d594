"""Products by tiles against numpy, in the interpreter, and what the compiler makes of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from engineworks.codegen.triton.compile import compile_cubin
from engineworks.codegen.triton.function import KernelFunction
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.ir.cases import Example
from engineworks.kernels.backend import find
from engineworks.kernels.cuda.matmul import CudaMatMul, ways_of
from engineworks.kernels.cuda.matmul_tiling import TileConfig
from engineworks.kernels.tactic import Tactic
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.testing.gpu_kernels import compile_image
from tests.unit.kernels.cuda.matmul_case import check, finished, product, tensor

PROVIDER, GPU = CudaMatMul(), gpu_of("sm_90")
FORMS = {
    "plain": TileConfig(16, 32, 32),
    "mapped": TileConfig(16, 32, 32, maps=True),
    "cut": TileConfig(16, 32, 16, parts=3),
    "cut and mapped": TileConfig(16, 32, 16, parts=2, maps=True),
    "the last tiles cut": TileConfig(16, 32, 16, parts=2, uncut=1),
    "the last tiles cut, mapped": TileConfig(16, 16, 16, parts=2, uncut=2, maps=True),
    "persistent": TileConfig(16, 16, 32, persistent=True, maps=True, group=2),
    "stored by a map": TileConfig(16, 16, 32, persistent=True, maps=True, mapped_store=True),
    "turned": TileConfig(16, 64, 32, turned=True),
    "turned and mapped": TileConfig(16, 64, 16, turned=True, maps=True),
    "narrow bands": TileConfig(16, 16, 32, group=1),
}


def tactics(*configs: TileConfig) -> list[Tactic]:
    return [Tactic(PROVIDER.name, c) for c in configs]


def best(work: Workload, effort: int = 0) -> list[Tactic]:
    return list(PROVIDER.propose(work, GPU, effort))


@pytest.mark.parametrize("constant", [True, False], ids=["packed", "in place"])
@pytest.mark.parametrize("form", FORMS)
def test_forms_with_work_behind_them(form: str, constant: bool) -> None:
    work = finished(product(tensor(dtypes.f16, 33, 72), tensor(dtypes.f16, 72, 48), constant=constant))
    check(work, PROVIDER, tactics(FORMS[form]), GPU)


@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 17, 63), (17, 1, 1), (63, 129, 17), (129, 5, 33), (1, 1, 1), (2, 0, 3)]
)
def test_awkward_sizes(m: int, k: int, n: int) -> None:
    work = finished(product(tensor(dtypes.f16, m, k), tensor(dtypes.f16, k, n), constant=k > 5))
    check(work, PROVIDER, tactics(FORMS["plain"], FORMS["cut"], FORMS["turned"]), GPU)


def test_the_best_prediction_for_awkward_sizes() -> None:
    for m, k, n in ((17, 40, 129), (129, 63, 2)):
        work = product(tensor(dtypes.bf16, m, k), tensor(dtypes.bf16, k, n), constant=True)
        check(work, PROVIDER, best(work), GPU)


PAIRS = [
    (dtypes.f16, dtypes.f16, None), (dtypes.bf16, dtypes.bf16, dtypes.f32), (dtypes.f32, dtypes.f32, None),
    (dtypes.f64, dtypes.f64, None), (dtypes.i8, dtypes.i8, dtypes.i32), (dtypes.u8, dtypes.i8, dtypes.i32),
    (dtypes.i8, dtypes.u8, dtypes.i32), (dtypes.u8, dtypes.u8, dtypes.i32), (dtypes.u8, dtypes.u8, None),
    (dtypes.f32, dtypes.bf16, dtypes.f32), (dtypes.f16, dtypes.bf16, dtypes.f32), (dtypes.f32, dtypes.i8, dtypes.f32),
    (dtypes.u8, dtypes.f32, dtypes.f32), (dtypes.f8e4m3, dtypes.f8e4m3, None),
]  # fmt: skip


@pytest.mark.parametrize("constant", [True, False], ids=["packed", "in place"])
@pytest.mark.parametrize(("left", "right", "out"), PAIRS, ids=str)
def test_pairs_of_types(left: DType, right: DType, out: DType | None, constant: bool) -> None:
    work = product(tensor(left, 18, 40), tensor(right, 40, 33), constant=constant, out_dtype=out)
    _, ways = ways_of(work, GPU)
    for way in ways:
        check(work, PROVIDER, tactics(TileConfig(16, 32, 32, precision=way.precision)), GPU)
        image = PROVIDER.build(work, tactics(TileConfig(64, 64, 32, precision=way.precision))[0], GPU)
        compile_image(image, GPU)


@pytest.mark.parametrize("maps", [False, True], ids=["pointers", "maps"])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3, 18, 32), (3, 32, 24)),
        ((3, 18, 32), (2, 1, 32, 24)),
        ((2, 18, 32), (32, 24)),
        ((1, 18, 32), (5, 32, 24)),
    ],
)
def test_batches_broadcast(a: tuple[int, ...], b: tuple[int, ...], maps: bool) -> None:
    for constant in (False, True):
        work = finished(product(tensor(dtypes.f16, *a), tensor(dtypes.f16, *b), constant=constant))
        check(
            work,
            PROVIDER,
            tactics(TileConfig(16, 16, 32, maps=maps), TileConfig(16, 32, 16, parts=2, maps=maps)),
            GPU,
        )


@pytest.mark.parametrize("maps", [False, True], ids=["pointers", "maps"])
def test_transposed_operands_and_results(maps: bool) -> None:
    f16 = dtypes.f16
    a, b = tensor(f16, 2, 24, 40, order=(0, 2, 1)), tensor(f16, 2, 40, 16, order=(0, 2, 1))
    for order in (None, (0, 2, 1)):
        work = finished(product(a, b, out_order=order))
        check(work, PROVIDER, tactics(TileConfig(16, 16, 32, maps=maps)), GPU)


def test_padded_rows() -> None:
    work = product(tensor(dtypes.f16, 20, 40, pad=8), tensor(dtypes.f16, 40, 24, pad=8))
    check(work, PROVIDER, tactics(TileConfig(16, 32, 32), TileConfig(16, 32, 32, maps=True)), GPU)


@pytest.mark.parametrize("form", ["plain", "mapped", "cut", "turned", "persistent"])
def test_rows_known_at_run_time(form: str) -> None:
    N = symbol("N", 1, 4096)
    work = finished(product(tensor(dtypes.f16, 2, N, 40), tensor(dtypes.f16, 40, 24), constant=True))
    for rows in (1, 19):
        check(work, PROVIDER, tactics(FORMS[form]), GPU, N=rows)


def test_every_size_known_at_run_time() -> None:
    B, M, K, N = symbol("B"), symbol("M"), symbol("K", 0), symbol("N", 1, None, 8)
    work = finished(product(tensor(dtypes.f16, B, M, K), tensor(dtypes.f16, B, K, N)))
    for k in (0, 37):
        check(work, PROVIDER, tactics(FORMS["plain"], FORMS["cut"]), GPU, B=2, M=5, K=k, N=24)


def workload_of(example: Example) -> Workload:
    types = [
        tensor(s.dtype, *(symbol(d) if isinstance(d, str) else d for d in s.shape)) for s in example.inputs
    ]
    op = MatMul(**example.attributes)
    operands = tuple(Operand(t, s.constant) for t, s in zip(types, example.inputs, strict=True))
    return Workload(op, operands, 2, op.infer(*types))


@pytest.mark.parametrize("number", range(len(MatMul.examples)))
def test_the_examples_of_the_op(number: int) -> None:
    example = MatMul.examples[number]
    work = workload_of(example)
    found = [c for c in find("cuda").propose(work, GPU, 1)[0] if c.provider.name.startswith("cuda.matmul")]
    assert found, "no family computes it"
    for dims in example.bindings():
        for candidate in found[:3]:
            check(work, candidate.provider, [candidate.tactic], GPU, **dims)


LARGE = {
    "plain": TileConfig(64, 64, 64, stages=4),
    "mapped": TileConfig(64, 64, 128, stages=3, maps=True),
    "cut": TileConfig(64, 64, 128, stages=3, maps=True, parts=4),
    "the last tiles cut": TileConfig(128, 128, 64, maps=True, parts=2, uncut=2),
    "persistent": TileConfig(128, 256, 64, 8, 3, maps=True, persistent=True),
    "stored by a map": TileConfig(128, 128, 64, 8, 4, maps=True, persistent=True, mapped_store=True),
    "turned": TileConfig(16, 64, 128, stages=4, maps=True, turned=True),
}


@pytest.mark.parametrize("form", LARGE)
def test_sm_90_multiplies_by_warp_groups_without_spills(form: str, tmp_path: Path) -> None:
    work = finished(product(tensor(dtypes.f16, 197, 768), tensor(dtypes.f16, 768, 512), constant=True))
    image = PROVIDER.build(work, tactics(LARGE[form])[0], GPU)
    code = machine_code(image.functions[image.steps[0].symbol], tmp_path)
    assert "HGMMA" in code
    assert not re.search(r"\b(LDL|STL)\b", code), "registers go to local memory"
    assert "UBLKPF" in code or LARGE[form].uncut or LARGE[form].persistent, "weights are not asked for"
    assert ("UTMASTG" if LARGE[form].mapped_store else "STG.E.128") in code, (
        "the output is not stored 16 bytes at a time"
    )
    assert ("UTMALDG" if LARGE[form].maps else "LDGSTS.E.BYPASS.128") in code


def machine_code(function: KernelFunction, folder: Path) -> str:
    """The assembly of a kernel for sm_90."""
    import triton

    path = folder / "kernel.cubin"
    path.write_bytes(compile_cubin(function, GPU).code)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    return subprocess.run([tool, "-c", path], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_100", "sm_120"])
def test_the_best_candidates_compile_for_other_architectures(arch: str) -> None:
    gpu = gpu_of(arch)
    for rows, depth in ((197, 768), (4096, 768)):
        work = finished(
            product(tensor(dtypes.f16, rows, depth), tensor(dtypes.f16, depth, 768), constant=True)
        )
        for tactic in list(PROVIDER.propose(work, gpu, 1))[:2]:
            compile_image(PROVIDER.build(work, tactic, gpu), gpu)


def test_f32_is_multiplied_as_tf32_where_that_is_allowed(tmp_path: Path) -> None:
    a, b = tensor(dtypes.f32, 40, 64), tensor(dtypes.f32, 64, 32)
    op = MatMul(allow_tf32=True)
    work = Workload(op, (Operand(a), Operand(b, True)), 2, op.infer(a, b))
    found = best(work, 1)
    assert {t.config.precision for t in found} == {"tf32"}
    check(work, PROVIDER, found[:2], GPU)
    image = PROVIDER.build(work, tactics(TileConfig(64, 64, 32, precision="tf32"))[0], GPU)
    assert "HGMMA.64x64x8.F32.TF32" in machine_code(next(iter(image.functions.values())), tmp_path)


def test_kernels_for_sizes_known_at_run_time_compile() -> None:
    B, M, N = symbol("B", 1, 64), symbol("M", 1, 4096), symbol("N", 8, 4096, 8)
    rows = finished(product(tensor(dtypes.f16, M, 768), tensor(dtypes.f16, 768, 768), constant=True))
    every = finished(product(tensor(dtypes.f16, B, M, N), tensor(dtypes.f16, B, N, M, order=(0, 2, 1))))
    for work in (rows, every):
        for tactic in best(work, 1)[:2]:
            compile_image(PROVIDER.build(work, tactic, GPU), GPU)


def test_candidates_are_few_different_and_ordered() -> None:
    work = product(tensor(dtypes.f16, 128, 768), tensor(dtypes.f16, 768, 768), constant=True)
    assert [len(best(work, effort)) for effort in (0, 1, 3)] == [1, 4, 16]
    found = best(work, 3)
    assert [t.predicted_s for t in found] == sorted(t.predicted_s for t in found)
    assert len({(t.config.rows, t.config.columns) for t in found}) >= 4
    assert len({t.text() for t in found}) == 16


def test_types_that_matrix_units_lack_are_refused() -> None:
    work = product(tensor(dtypes.i32, 8, 8), tensor(dtypes.i32, 8, 8))
    with pytest.raises(NoTactic, match="generic"):
        best(work)
