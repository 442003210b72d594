"""Attention on NVIDIA GPUs, interpreted, against the operator's float64 reference; and compiled without spills."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import triton

from engineworks.codegen.triton.attention_shape import AttentionTiles, parts_of
from engineworks.codegen.triton.compile import compile_cubin
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate, symbol
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.attention import CudaAttention
from engineworks.kernels.tactic import Tactic
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.attention import Attention
from engineworks.testing.gpu_kernels import interpret_image
from engineworks.testing.inputs import Case, cases

GPU = gpu_of("sm_90")
BETWEEN_ROWS = (0, 2, 1, 3)
"""Heads lie between the rows, as a projection writes them."""
NEAR = {"f32": 2e-5, "f16": 2e-3, "bf16": 2e-2}
FORMS = {
    "flash": AttentionTiles("flash", 16, 32, 4),
    "whole": AttentionTiles("whole", 32, 0, 4),
    "split": AttentionTiles("split", 16, 32, 4, splits=3),
}
"""A small tiling of each form."""


def tensor(dtype: str, *shape: Dim, order: Sequence[int] | None = None, pad: int = 0) -> TensorType:
    layout = Layout(tuple(order or range(len(shape))), pad)
    return TensorType(dtypes.by_name(dtype), tuple(shape)).with_layout(layout)


def workload(op: Attention, types: Sequence[TensorType], out_order: Sequence[int] | None = None) -> Workload:
    (out,) = op.infer(*types)
    out = out.with_layout(Layout(tuple(out_order))) if out_order else out
    return Workload(op, tuple(Operand(t) for t in types), len(types), (out,))


def check(
    op: Attention,
    types: Sequence[TensorType],
    form: str,
    *,
    out_order: Sequence[int] | None = None,
    mask: np.ndarray | None = None,
    **dims: int,
) -> None:
    work = workload(op, types, out_order)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal([evaluate(d, dims) for d in t.shape]).astype(t.dtype.numpy) for t in types]
    if mask is not None:
        arrays[3] = mask.astype(types[3].dtype.numpy)
    with np.errstate(invalid="ignore"):
        expected = replace(op, past=evaluate(op.past, dims)).reference(*arrays)
    image = CudaAttention().build(work, Tactic("cuda.attention", FORMS[form]), GPU)
    with np.errstate(invalid="ignore"):
        (got,) = interpret_image(image, list(zip(arrays, types, strict=True)), list(work.outputs), dims)
    near = NEAR[types[0].dtype.name]
    np.testing.assert_allclose(got.astype(np.float64), expected, rtol=near, atol=near)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize(
    ("queries", "keys", "depth", "width"),
    [(5, 7, 8, 8), (1, 1, 3, 5), (33, 40, 64, 64), (20, 31, 80, 128), (17, 64, 20, 40)],
)
def test_sizes(form: str, dtype: str, queries: int, keys: int, depth: int, width: int) -> None:
    types = (
        tensor(dtype, 1, 2, queries, depth),
        tensor(dtype, 1, 2, keys, depth),
        tensor(dtype, 1, 2, keys, width),
    )
    check(Attention(depth**-0.5), types, form)


@pytest.mark.parametrize("form", FORMS)
def test_heads_between_rows_of_padded_tensors(form: str) -> None:
    types = [tensor("f16", 2, 3, 17, 32, order=BETWEEN_ROWS, pad=p) for p in (0, 64, 64)]
    check(Attention(0.125), types, form, out_order=BETWEEN_ROWS)


@pytest.mark.parametrize("form", FORMS)
def test_parts_of_a_merged_projection_are_read_in_place(form: str) -> None:
    part = tensor("f16", 2, 3, 21, 32)
    part = part.with_layout(Layout(BETWEEN_ROWS, 0, (21 * 288, 32, 288, 1)))
    check(Attention(0.2), [part] * 3, form, out_order=BETWEEN_ROWS)


@pytest.mark.parametrize("form", FORMS)
def test_keys_and_values_whose_columns_are_apart(form: str) -> None:
    types = (
        tensor("f32", 2, 9, 16),
        tensor("f32", 2, 41, 16, order=(0, 2, 1)),
        tensor("f32", 2, 41, 20, order=(0, 2, 1)),
    )
    check(Attention(0.25), types, form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 43), (2, 1, 9, 43), (9, 43), (2, 3, 9, 1), (1, 3, 1, 43)])
def test_masks_broadcast(form: str, shape: tuple[int, ...]) -> None:
    types = (
        tensor("f32", 2, 3, 9, 8),
        tensor("f32", 2, 3, 43, 8),
        tensor("f32", 2, 3, 43, 8),
        tensor("f32", *shape),
    )
    check(Attention(0.3), types, form)


@pytest.mark.parametrize("form", FORMS)
def test_masked_keys_and_fully_masked_rows(form: str) -> None:
    mask = np.zeros((6, 70))
    mask[:, :40] = -np.inf
    mask[2] = -3.4e38
    mask[4] = -np.inf
    types = (
        tensor("f32", 1, 2, 6, 8),
        tensor("f32", 1, 2, 70, 8),
        tensor("f32", 1, 2, 70, 8),
        tensor("f32", 6, 70),
    )
    check(Attention(0.3), types, form, mask=mask)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("past", [0, 13])
def test_causal_and_shared_heads(form: str, past: int) -> None:
    keys = tensor("f16", 1, 2, 35 + past, 16)
    check(Attention(0.25, causal=True, past=past), (tensor("f16", 1, 6, 19, 16), keys, keys), form)


@pytest.mark.parametrize("form", FORMS)
def test_causal_queries_that_see_no_key_give_nan(form: str) -> None:
    keys = tensor("f32", 1, 5, 16)
    check(Attention(0.25, causal=True, past=-2), (tensor("f32", 1, 20, 16), keys, keys), form)


@pytest.mark.parametrize("form", FORMS)
def test_negative_scales_turn_the_order_of_scores(form: str) -> None:
    check(Attention(-3.0), [tensor("f32", 1, 9, 16)] * 3, form)


@pytest.mark.parametrize("form", FORMS)
def test_large_scores_do_not_overflow(form: str) -> None:
    check(Attention(3000.0), [tensor("f32", 1, 9, 16)] * 3, form)


@pytest.mark.parametrize("form", ["flash", "split"])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (3, 70), (19, 33)])
def test_symbolic_sizes(form: str, queries: int, keys: int) -> None:
    B, S, T = symbol("B"), symbol("S"), symbol("T", 1, 4096)
    types = (
        tensor("f16", B, 2, S, 16, order=BETWEEN_ROWS),
        tensor("f16", B, 2, T, 16, order=BETWEEN_ROWS),
        tensor("f16", B, 2, T, 24),
        tensor("f16", B, 1, 1, T),
    )
    check(Attention(0.25), types, form, out_order=BETWEEN_ROWS, B=2, S=queries, T=keys)
    check(Attention(0.25, causal=True, past=T - S), types[:3], form, B=2, S=queries, T=keys)


@pytest.mark.parametrize("form", ["flash", "split"])
def test_no_keys_give_zeros(form: str) -> None:
    keys = tensor("f32", 2, symbol("T", 0, 64), 16)
    check(Attention(0.25), (tensor("f32", 2, 3, 16), keys, keys), form, T=0)


@pytest.mark.parametrize("form", FORMS)
def test_axes_before_the_heads(form: str) -> None:
    types = (tensor("f32", 2, 3, 2, 5, 16), tensor("f32", 2, 3, 2, 7, 16), tensor("f32", 2, 3, 2, 7, 16))
    check(Attention(0.25), (*types, tensor("f32", 2, 1, 1, 5, 7)), form)


@pytest.mark.parametrize("size", [1, 16, 20, 40, 80, 96, 120, 128, 197, 256])
def test_parts_cover_a_size_with_little_waste(size: int) -> None:
    parts = parts_of(size)
    assert [start for start, _ in parts] == [0, *np.cumsum([w for _, w in parts])[:-1]]
    assert all(width >= 16 and width & (width - 1) == 0 for _, width in parts)
    covered = sum(width for _, width in parts)
    assert size <= covered <= max(size * 1.3, size + 15)


@pytest.mark.parametrize("case", [c for c in cases() if c.kind is Attention], ids=lambda c: c.label)
def test_the_first_choices_are_right_on_the_examples(case: Case) -> None:
    example, op, arrays = case.example, Attention(**case.example.attributes), case.arrays()
    sizes = {name: symbol(name, min(values), max(values)) for name, values in example.dims.items()}
    shapes = [
        [sizes[d] if isinstance(d, str) else d for d in s.shape] for s in example.inputs if s is not None
    ]
    work = workload(op, [tensor("f32", *shape) for shape in shapes])
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True) if a is not None and o is not None]
    for tactic in CudaAttention().propose(work, GPU, 1):
        image = CudaAttention().build(work, tactic, GPU)
        (got,) = interpret_image(image, given, list(work.outputs), case.dims)
        np.testing.assert_allclose(got, op.reference(*arrays), rtol=2e-5, atol=2e-5, err_msg=tactic.text())


def half(*heads: int, queries: int, keys: int, depth: int) -> list[TensorType]:
    q, k, v = ((heads[0], queries), (heads[-1], keys), (heads[-1], keys))
    return [tensor("f16", 1, h, n, depth, order=BETWEEN_ROWS) for h, n in (q, k, v)]


NETWORKS = {
    "BERT": workload(
        Attention(0.125), [*half(12, queries=128, keys=128, depth=64), tensor("f16", 1, 1, 1, 128)]
    ),
    "ViT": workload(Attention(0.125), half(12, queries=197, keys=197, depth=64)),
    "GPT-2": workload(Attention(0.125, causal=True), half(12, queries=128, keys=128, depth=64)),
    "UNet": workload(Attention(0.158), half(8, queries=4096, keys=4096, depth=40)),
    "decoding": workload(
        Attention(0.088, causal=True, past=4095), half(32, 8, queries=1, keys=4096, depth=128)
    ),
}
"""float16, as networks have it."""


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_kernels_of_networks_hold_everything_in_registers(network: str, arch: str, tmp_path: Path) -> None:
    work, gpu = NETWORKS[network], gpu_of(arch)
    (tactic,) = CudaAttention().propose(work, gpu, 0)
    for function in CudaAttention().build(work, tactic, gpu).functions.values():
        code = tmp_path / f"{function.name}.cubin"
        code.write_bytes(compile_cubin(function, gpu).code)
        assert stack_bytes(code) == 0


def stack_bytes(cubin: Path) -> int:
    """Of a thread's local memory, as NVIDIA's reader of machine code has it."""
    reader = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    found = subprocess.run([reader, "-res-usage", cubin], capture_output=True, text=True, check=True)
    (size,) = re.findall(r"STACK:(\d+)", found.stdout + found.stderr)
    return int(size)


def test_what_the_kernels_do_not_take_is_refused_by_name() -> None:
    for types, why in (
        ([tensor("f64", 1, 9, 16)] * 3, "f64"),
        ([tensor("f16", 1, 9, 512)] * 3, "512"),
        ([tensor("f16", 1, 9, symbol("D"))] * 2 + [tensor("f16", 1, 9, 16)], "symbolic"),
    ):
        with pytest.raises(NoTactic, match=why):
            CudaAttention().propose(workload(Attention(0.5), types), GPU, 3)
