"""Attention workloads that cuDNN computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, symbol
from engineworks.core.types import Layout, TensorType
from engineworks.ops.attention import Attention
from tests.unit.kernels.cuda.library_case import Case, tensor

S = symbol("S", 1, 512)
HEADS_INSIDE = (0, 2, 1, 3)
"""[batch, heads, rows, columns] that lies as [batch, rows, heads, columns], which is how projections write it."""


def formula(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Any = None, *, op: Attention) -> np.ndarray:
    """Softmax of the scores, times the values."""
    k, v = (np.repeat(t, q.shape[-3] // t.shape[-3], axis=-3) for t in (k, v))
    scores = op.scale * np.einsum("...qd,...kd->...qk", q, k)
    if mask is not None:
        scores = scores + mask
    if op.causal:
        rows, columns = np.indices(scores.shape[-2:])
        assert isinstance(op.past, int)
        scores = np.where(columns <= rows + op.past, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("...qk,...kd->...qd", weights / weights.sum(-1, keepdims=True), v)


def case(name: str, op: Attention, inputs: list[TensorType | None], **more: Any) -> Case:
    """A case whose result lies as the queries do, or as `out`."""
    q, v = inputs[0], inputs[2]
    assert q is not None
    assert v is not None
    out = more.pop("out", TensorType(q.dtype, (*q.shape[:-1], v.shape[-1]), q.layout))
    return Case(name, op, inputs, out, lambda *arrays: formula(*arrays, op=op), **more)


def alike(dtype: str, *shapes: tuple, order: tuple[int, ...] = ()) -> list[TensorType | None]:
    return [tensor(dtype, *shape, order=order) for shape in shapes]


def parts(rows: Dim) -> list[TensorType | None]:
    """Queries, keys and values [2, 4, rows, 64] as they lie in one product [2, rows, 3 * 4 * 64]."""
    layout = Layout(HEADS_INSIDE, strides=(rows * 768, 64, 768, 1))
    return [TensorType(dtypes.f16, (2, 4, rows, 64), layout)] * 3


PLAIN, CAUSAL = Attention(scale=0.125), Attention(scale=0.125, causal=True)
CASES = (
    case("plain", PLAIN, alike("f16", *[(2, 4, 128, 64)] * 3)),
    case("bf16, a prime of rows", PLAIN, alike("bf16", *[(1, 3, 197, 64)] * 3)),
    case("causal", CAUSAL, alike("f16", *[(2, 3, 130, 64)] * 3)),
    case("heads inside", PLAIN, alike("f16", *[(2, 4, 96, 64)] * 3, order=HEADS_INSIDE)),
    case("parts of one product", PLAIN, parts(96), out=tensor("f16", 2, 4, 96, 64, order=HEADS_INSIDE)),
    case("parts of one product, dynamic rows", PLAIN, parts(S), out=tensor("f16", 2, 4, S, 64, order=HEADS_INSIDE),
         dims={"S": 50}),
    case("shared heads", PLAIN, alike("f16", (1, 8, 64, 64), (1, 2, 80, 64), (1, 2, 80, 64))),
    case("no batch axis", PLAIN, alike("f16", *[(4, 48, 32)] * 3)),
    case("two batch axes", PLAIN, alike("f16", *[(2, 3, 2, 40, 64)] * 3)),
    case("wide heads", PLAIN, alike("f16", *[(1, 2, 64, 128)] * 3)),
    case("values of another width", PLAIN, alike("f16", (1, 2, 64, 64), (1, 2, 72, 64), (1, 2, 72, 32))),
    case("one query, all of the past", Attention(scale=0.125, causal=True, past=299),
         alike("f16", (2, 4, 1, 64), (2, 4, 300, 64), (2, 4, 300, 64))),
    case("mask of each key", PLAIN, [*alike("f16", *[(2, 4, 128, 64)] * 3), tensor("f16", 2, 1, 1, 128)]),
    case("mask of each score", CAUSAL, [*alike("f16", *[(2, 4, 64, 64)] * 3), tensor("f16", 64, 64)]),
    case("dynamic rows", CAUSAL, alike("f16", *[(2, 4, S, 64)] * 3), dims={"S": 77}),
)  # fmt: skip
