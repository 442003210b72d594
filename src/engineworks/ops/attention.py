"""Scaled dot-product attention: softmax(q kᵀ * scale + mask) v."""

from __future__ import annotations

import math

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_equal
from engineworks.core.shapes import broadcast
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_torch, op


@op("attention")
class Attention(Op):
    """Attention of heads, of which several may share one head of keys and values.

    Args (of the node): q [..., H, Sq, D], k [..., Hk, Sk, D], v [..., Hk, Sk, Dv] with H a multiple of Hk; optionally
        a mask, added to the scores and broadcastable to [..., H, Sq, Sk]. One floating dtype.
    Returns:
        [..., H, Sq, Dv]. Rows whose scores are all -inf give NaN, as softmax does.

    Attributes:
        scale: of the products.
        causal: query i sees the keys up to past + i.
        past: keys that lie before the first query (a cache).
        allow_tf32: as of `matmul`.
    """

    scale: float
    causal: bool = False
    past: Dim = 0
    allow_tf32: bool = False

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        q, k, v = inputs[:3]
        assert q is not None and k is not None and v is not None, "attention takes queries, keys and values"
        if not q.rank == k.rank == v.rank or q.rank < 3:
            raise InvalidModel(f"queries {q}, keys {k}, values {v}: ranks must agree and be at least 3")
        given = [t for t in inputs if t is not None]
        if not q.dtype.is_float or any(t.dtype is not q.dtype for t in given):
            raise InvalidModel(f"operands {', '.join(map(str, given))} must share one floating dtype")
        for what, a, b in (("head sizes of queries and keys", q.shape[-1], k.shape[-1]),
                           ("numbers of keys and values", k.shape[-2], v.shape[-2]),
                           ("heads of keys and values", k.shape[-3], v.shape[-3])):  # fmt: skip
            if known_equal(a, b) is False:
                raise InvalidModel(f"queries {q}, keys {k}, values {v}: the {what} differ, {a} and {b}")
        heads, shared = q.shape[-3], k.shape[-3]
        if heads != shared and not (
            isinstance(heads, int) and isinstance(shared, int) and heads % shared == 0
        ):
            raise InvalidModel(f"{heads} heads of queries cannot share {shared} heads of keys")
        return (TensorType(q.dtype, (*q.shape[:-1], v.shape[-1])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        q, k, v = (np.asarray(x, np.float64) for x in inputs[:3])
        groups = q.shape[-3] // max(k.shape[-3], 1)
        k, v = (np.repeat(x, groups, axis=-3) for x in (k, v))
        scores = q @ k.swapaxes(-1, -2) * self.scale
        if len(inputs) > 3 and inputs[3] is not None:
            scores = scores + np.asarray(inputs[3], np.float64)
        if self.causal:
            rows, columns = np.ogrid[: q.shape[-2], : k.shape[-2]]
            scores = np.where(columns <= rows + self.past, scores, -np.inf)
        if scores.size == 0:
            return np.zeros((*q.shape[:-1], v.shape[-1]))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True) @ v

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value:
        q, k, v = inputs[:3]
        assert q is not None and k is not None and v is not None, "attention takes queries, keys and values"
        mask = inputs[3] if len(inputs) > 3 else None
        rank, heads, shared = q.type.rank, q.type.shape[-3], k.type.shape[-3]
        shape = (*q.type.shape[:-1], v.type.shape[-1])
        if heads != shared:
            k, v = (self._repeated(g, x, heads) for x in (k, v))
        keys = g.transpose(k, perm=(*range(rank - 2), rank - 1, rank - 2))
        scores = g.mul(g.matmul(q, keys), self.scale)
        if mask is not None:
            scores = g.add(scores, mask)
        if self.causal:
            visible = self._visible(g, q.type.shape[-2], k.type.shape[-2])
            scores = g.where(visible, scores, g.constant(float("-inf"), q.type.dtype))
        return g.reshape_to(g.matmul(g.softmax(scores, axis=-1), v), shape)

    def _repeated(self, g: GraphBuilder, x: Value, heads: Dim) -> Value:
        """Each shared head once for every head of queries that reads it."""
        *batch, shared, count, width = x.type.shape
        assert isinstance(heads, int) and isinstance(shared, int), (
            "infer allows sharing of a known number of heads only"
        )
        apart = g.reshape(x, shape=(*batch, shared, 1, count, width))
        wide = g.expand(apart, shape=(*batch, shared, heads // shared, count, width))
        return g.reshape(wide, shape=(*batch, heads, count, width))

    def _visible(self, g: GraphBuilder, queries: Dim, keys: Dim) -> Value:
        """bool [Sq, Sk]: the keys that each query may see."""
        rows = g.reshape(g.iota(count=queries), shape=(queries, 1))
        limit = g.add(rows, g.dims(self.past))
        return g.less_or_equal(g.iota(count=keys), limit)

    examples = (
        example(f32(2, 3, 5, 8), f32(2, 3, 7, 8), f32(2, 3, 7, 8), scale=0.35),
        example(f32(1, 2, 33, 16), f32(1, 2, 40, 16), f32(1, 2, 40, 20), f32(1, 1, 1, 40), scale=0.25),
        example(f32(4, 6, 8), f32(2, 6, 8), f32(2, 6, 8), scale=0.5, causal=True),
        example(
            f32(1, 2, "S", 16), f32(1, 2, "S", 16), f32(1, 2, "S", 16), scale=0.25, dims={"S": (1, 19, 64)}
        ),
    )


@from_torch("aten.scaled_dot_product_attention.default")
@from_torch("aten._scaled_dot_product_flash_attention_for_cpu.default")
@from_torch("aten._scaled_dot_product_flash_attention.default")
@from_torch("aten._scaled_dot_product_efficient_attention.default")
@from_torch("aten._scaled_dot_product_cudnn_attention.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """A boolean mask hides keys where it is False; what sees no key becomes 0."""
    if n.arg("dropout_p"):
        raise n.unsupported("dropout inside of attention; export the module after module.eval()")
    if any(n.output_names[1:]):
        raise n.unsupported("the logarithm of the sums as an output, which only training wants")
    q, k, v = _with_heads(g, n.arg("query"), n.arg("key"), n.arg("value"))
    mask = next((n.arg(name) for name in ("attn_mask", "attn_bias") if name in n.foreign.attributes), None)
    scale = float(n.arg("scale")) if n.arg("scale") is not None else _usual_scale(n, q)
    hidden = None
    if mask is not None and mask.type.dtype is dtypes.bool_:
        hidden = _sees_nothing(g, mask)
        mask = g.where(mask, g.constant(0, q.type.dtype), g.constant(-math.inf, q.type.dtype))
    given = (q, k, v) if mask is None else (q, k, v, g.cast_to(mask, q.type.dtype))
    out = g.attention(*given, scale=scale, causal=bool(n.arg("is_causal")))
    if hidden is not None:
        out = g.where(hidden, g.constant(0, out.type.dtype), out)
    rank = max(n.arg(name).type.rank for name in ("query", "key", "value"))
    return g.reshape_to(out, out.type.shape[-rank:]), *[None] * (n.output_count - 1)


def _usual_scale(n: ForeignNode, q: Value) -> float:
    width = q.type.shape[-1]
    if not isinstance(width, int):
        raise n.unsupported(f"heads of size {width}, which is not known when the engine is built; give scale")
    return 1 / math.sqrt(width) if width else 1.0


def _with_heads(g: GraphBuilder, *operands: Value) -> list[Value]:
    """Queries, keys and values with an axis of heads, and with equal axes before it."""
    rank = max(3, *(x.type.rank for x in operands))
    ranked = [g.reshape_to(x, (*[1] * (rank - x.type.rank), *x.type.shape)) for x in operands]
    batch = broadcast(*(x.type.shape[:-3] for x in ranked), scope=g.graph.scope)
    shapes = [(*batch, *x.type.shape[-3:]) for x in ranked]
    return [x if x.type.shape == s else g.expand(x, shape=s) for x, s in zip(ranked, shapes, strict=True)]


def _sees_nothing(g: GraphBuilder, mask: Value) -> Value | None:
    """bool: the queries for which the mask hides every key; None where it is known that there are none."""
    if mask.constant is not None and bool(mask.array.any(axis=-1).all()):
        return None
    return g.logical_not(g.reduce_any(mask, axes=(mask.type.rank - 1,), keepdims=True))
