"""Fused attention against the operator's float64 reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate, symbol
from engineworks.core.target import host
from engineworks.core.types import Layout, TensorType
from engineworks.kernels.cpu.attention import CpuAttention
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.attention import Attention
from engineworks.testing.kernels import run_image

ISAS = pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
BETWEEN_ROWS = (0, 2, 1, 3)
"""Heads lie between the rows, as a projection writes them."""


def tensor(*shape: Dim, order: Sequence[int] | None = None, pad: int = 0) -> TensorType:
    return TensorType(dtypes.f32, tuple(shape)).with_layout(Layout(tuple(order or range(len(shape))), pad))


def check(
    op: Attention,
    types: Sequence[TensorType],
    isa: Isa,
    *,
    out_order: Sequence[int] | None = None,
    effort: int = 3,
    masks: np.ndarray | None = None,
    **dims: int,
) -> None:
    (out,) = op.infer(*types)
    if out_order:
        out = out.with_layout(Layout(tuple(out_order)))
    work = Workload(op, tuple(Operand(t) for t in types), len(types), (out,))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal([evaluate(d, dims) for d in t.shape]).astype(np.float32) for t in types]
    if masks is not None:
        arrays[3] = masks.astype(np.float32)
    with np.errstate(invalid="ignore"):
        expected = op.reference(*arrays)
    tactics = list(CpuAttention().propose(work, isa, effort))
    assert tactics
    for tactic in tactics:
        image = CpuAttention().build(work, tactic, isa)
        (got,) = run_image(image, list(zip(arrays, types, strict=True)), [out], isa, dims, split=3)
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5, err_msg=tactic.text())


@ISAS
@pytest.mark.parametrize(
    ("queries", "keys", "depth", "width"),
    [(5, 7, 8, 8), (1, 1, 3, 5), (33, 40, 32, 64), (14, 64, 80, 80), (20, 31, 96, 128)],
)
def test_static_sizes(isa: Isa, queries: int, keys: int, depth: int, width: int) -> None:
    types = (tensor(2, 3, queries, depth), tensor(2, 3, keys, depth), tensor(2, 3, keys, width))
    check(Attention(depth**-0.5), types, isa)


@ISAS
def test_heads_between_rows(isa: Isa) -> None:
    types = [tensor(2, 3, 17, 64, order=BETWEEN_ROWS, pad=p) for p in (0, 5, 8)]
    check(Attention(0.125), types, isa, out_order=BETWEEN_ROWS)


@ISAS
def test_values_whose_columns_are_apart_are_packed(isa: Isa) -> None:
    types = (
        tensor(2, 2, 9, 16),
        tensor(2, 2, 21, 16, order=(0, 1, 3, 2)),
        tensor(2, 2, 21, 20, order=(0, 1, 3, 2)),
    )
    check(Attention(0.25), types, isa)


@ISAS
@pytest.mark.parametrize("shape", [(1, 1, 1, 23), (2, 1, 19, 23), (19, 23), (2, 3, 19, 1), (1, 3, 1, 23)])
def test_masks_broadcast(isa: Isa, shape: tuple[int, ...]) -> None:
    types = (tensor(2, 3, 19, 8), tensor(2, 3, 23, 8), tensor(2, 3, 23, 8), tensor(*shape))
    check(Attention(0.3), types, isa, effort=1)


@ISAS
def test_masked_keys_and_fully_masked_rows(isa: Isa) -> None:
    mask = np.zeros((6, 23))
    mask[:, 11:] = -np.inf
    mask[2] = -3.4e38
    mask[4] = -np.inf
    types = (tensor(1, 2, 6, 8), tensor(1, 2, 23, 8), tensor(1, 2, 23, 8), tensor(6, 23))
    check(Attention(0.3), types, isa, masks=mask)


@ISAS
@pytest.mark.parametrize("past", [0, 13])
def test_causal_and_shared_heads(isa: Isa, past: int) -> None:
    types = (tensor(2, 6, 37, 16), tensor(2, 2, 37 + past, 16), tensor(2, 2, 37 + past, 16))
    check(Attention(0.25, causal=True, past=past), types, isa)


@ISAS
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (3, 70), (37, 33), (64, 1100)])
def test_symbolic_sizes(isa: Isa, queries: int, keys: int) -> None:
    B, S, T = symbol("B"), symbol("S"), symbol("T")
    types = (
        tensor(B, 2, S, 16, order=BETWEEN_ROWS),
        tensor(B, 2, T, 16, order=BETWEEN_ROWS),
        tensor(B, 2, T, 24),
        tensor(B, 1, 1, T),
    )
    check(Attention(0.25), types, isa, effort=1, out_order=BETWEEN_ROWS, B=2, S=queries, T=keys)


@ISAS
@pytest.mark.parametrize("causal", [False, True])
def test_long_sequences_go_block_by_block(isa: Isa, causal: bool) -> None:
    types = (tensor(1, 2, 45, 8), tensor(1, 1, 1301, 8), tensor(1, 1, 1301, 8))
    check(Attention(0.5, causal=causal, past=1256 if causal else 0), types, isa, effort=2)


@ISAS
def test_blocks_of_masked_keys_before_visible_ones(isa: Isa) -> None:
    mask = np.zeros((20, 1200))
    mask[:, :700] = -np.inf
    mask[3] = -np.inf
    types = (tensor(1, 1, 20, 8), tensor(1, 1, 1200, 8), tensor(1, 1, 1200, 8), tensor(20, 1200))
    check(Attention(0.5), types, isa, masks=mask, effort=2)


@ISAS
@pytest.mark.parametrize(("queries", "keys"), [(1, 7), (1, 1100), (3, 40), (2, 1500)])
def test_few_queries_read_keys_where_they_lie(isa: Isa, queries: int, keys: int) -> None:
    types = (tensor(2, 4, queries, 24), tensor(2, 2, keys, 24, order=BETWEEN_ROWS), tensor(2, 2, keys, 40))
    check(Attention(0.2), types, isa)
    check(Attention(0.2, causal=True, past=keys - queries), types, isa)
    T = symbol("T")
    types = (tensor(2, 2, queries, 20), tensor(2, 2, T, 20), tensor(2, 2, T, 40), tensor(2, 1, 1, T))
    check(Attention(0.2), types, isa, T=keys)


# -- narrow operands ------------------------------------------------------------------------------------------
TILES = AVX512.with_extras("amx-tile", "amx-bf16")
DOT = AVX512.with_extras("avx512bf16")


def check_narrow(
    op: Attention,
    types: Sequence[TensorType],
    isa: Isa,
    *,
    out_order: Sequence[int] | None = None,
    **dims: int,
) -> None:
    """The best tactic of each form is as near as the rounding of the weights and of the result allows."""
    if not isa.extras <= set(host().features):
        pytest.skip(f"this CPU lacks {isa.extras - set(host().features)}")
    (out,) = op.infer(*types)
    out = out.with_layout(Layout(tuple(out_order))) if out_order else out
    work = Workload(op, tuple(Operand(t) for t in types), len(types), (out,))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal([evaluate(d, dims) for d in t.shape]).astype(t.dtype.numpy) for t in types]
    expected = op.reference(*arrays)
    near = 2e-2 if out.dtype is dtypes.bf16 else 2e-3
    best = {t.config.form: t for t in reversed(list(CpuAttention().propose(work, isa, 5)))}
    for tactic in best.values():
        image = CpuAttention().build(work, tactic, isa)
        (got,) = run_image(image, list(zip(arrays, types, strict=True)), [out], isa, dims, split=3)
        np.testing.assert_allclose(
            got.astype(np.float64), expected, rtol=near, atol=near, err_msg=tactic.text()
        )


def narrow(dtype: str, *shape: Dim, order: Sequence[int] | None = None) -> TensorType:
    return TensorType(dtypes.by_name(dtype), tuple(shape)).with_layout(
        Layout(tuple(order or range(len(shape))))
    )


@pytest.mark.parametrize(
    "isa", [TILES, DOT, AVX512, AVX2], ids=lambda i: "+".join([i.name, *sorted(i.extras)])
)
@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize(
    ("queries", "keys", "depth", "width"),
    [(5, 7, 8, 8), (1, 70, 64, 40), (33, 40, 33, 64), (64, 64, 80, 80), (20, 1100, 64, 64)],
)
def test_narrow_operands(isa: Isa, dtype: str, queries: int, keys: int, depth: int, width: int) -> None:
    types = [
        narrow(dtype, 2, 3, queries, depth, order=BETWEEN_ROWS),
        narrow(dtype, 2, 3, keys, depth, order=BETWEEN_ROWS),
        narrow(dtype, 2, 3, keys, width),
    ]
    check_narrow(Attention(depth**-0.5), types, isa, out_order=BETWEEN_ROWS)


@pytest.mark.parametrize("isa", [TILES, DOT, AVX2], ids=lambda i: "+".join([i.name, *sorted(i.extras)]))
def test_narrow_operands_with_masks_causes_and_unknown_sizes(isa: Isa) -> None:
    count = symbol("S", 1, 2000)
    q, k, v = (narrow("bf16", 1, heads, count, 64) for heads in (4, 2, 2))
    mask = narrow("bf16", 1, 1, count, count)
    for size in (1, 37, 600):
        check_narrow(Attention(0.125, causal=True), [q, k, v], isa, S=size)
    check_narrow(Attention(0.125), [q, k, v, mask], isa, S=50)
