"""Layer norms join the products behind them: the kernel that multiplies the rows sums up what their norm needs.

(x̂ γ + β) W = x̂ (γ W) + β W, where x̂ are the rows at mean 0 and variance 1: `normalised_matmul`. For backends whose
cost at few rows is the launch; each tile of a product's columns repeats the sums, so that at many rows a norm's own
kernel is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import bounds, product
from engineworks.ir.graph import Node, Value
from engineworks.ir.op import Op
from engineworks.ir.rewriter import Rewriter
from engineworks.ops.normalised_matmul import NormalisedMatMul

FEW_ROWS = 8
"""Up to so many, a product's cost is reading its weights, for which there are kernels of their own."""
MOST_ROWS = 512
"""A norm's kernel takes about 1.5 µs; moments in a product of 512 x 768 by 3072 are predicted to take 1.4 µs."""
MOST_RESULTS = 1 << 21
"""Of one product: rows by columns. ViT-B has 0.6 million of 197 tokens, GPT-2's logits of 128 are 6.4 million."""
STEP = {dtypes.f16: 2.0**-10, dtypes.bf16: 2.0**-7, dtypes.f32: 2.0**-23}
"""From 1 to the next number."""
WHY = "layer norm in product"


@dataclass(frozen=True, slots=True)
class FoldLayerNorms:
    """Fold scale and shift of a layer norm into the constant matrices of all its readers, where these are products.

    Runs when the dtypes of products are decided. Products in TF32 stay: they would round x, not its distance from the
    mean.

    Args:
        pays: asked about each norm whose readers can all take it: x, and (product, what takes its place) of each.
    """

    pays: Callable[[Value, Sequence[tuple[Node, Op]]], bool]
    name: ClassVar[str] = "fold layer norms"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            norm = _norm_of(node) if node.op.name == "layer_normalization" else None
            if norm is None or rewriter.graph.is_output(node.output) or not node.output.uses:
                continue
            products = [norm.before(user) for user, _ in node.output.uses]
            found = [p for p in products if p is not None]
            if len(found) < len(products):
                rewriter.miss(WHY, [node], "its output is read by others than small products with constants")
                continue
            if not self.pays(norm.x, [(p.reader, p.op) for p in found]):
                rewriter.miss(WHY, [node], "its own kernel and the products without it are faster")
                continue
            weights = [p.weights() for p in found]
            kept = [w for w in weights if w is not None]
            if len(kept) < len(found):
                rewriter.miss(WHY, [node], "scaled weights would overflow, or lose digits")
                continue
            for each, matrix in zip(found, kept, strict=True):
                each.replace(rewriter, matrix)


@dataclass(frozen=True, slots=True)
class _Norm:
    """A layer norm over the last axis of x; scale and shift [K] f64."""

    node: Node
    x: Value
    scale: np.ndarray
    shift: np.ndarray | None

    def before(self, reader: Node) -> _Folded | None:
        """A reader with the norm folded in; None where it is no product, or too large."""
        weights = reader.inputs[1] if reader.op.name == "matmul" else None
        if weights is None or weights.constant is None or weights.type.rank != 2:
            return None
        dtype, columns = self.x.type.dtype, weights.type.shape[1]
        rounds = dtype is dtypes.f32 and reader.op.allow_tf32  # type: ignore[attr-defined]
        if weights.type.dtype is not dtype or rounds:
            return None
        most = bounds(product([*self.x.type.shape[:-1], columns]))[1]
        return None if most is None or most > MOST_RESULTS else _Folded(self, reader)


@dataclass(frozen=True, slots=True)
class _Folded:
    """A product with the norm in front of it."""

    norm: _Norm
    reader: Node

    @property
    def op(self) -> NormalisedMatMul:
        """What takes the product's place."""
        return NormalisedMatMul(epsilon=self.norm.node.op.epsilon, out_dtype=dtypes.f32)  # type: ignore[attr-defined]

    def weights(self) -> np.ndarray | None:
        """γ W [K, N] in W's dtype; None where that cannot hold it."""
        dtype = self.norm.x.type.dtype
        with np.errstate(over="ignore"):
            exact = self.norm.scale[:, None] * self._matrix()
            scaled = exact.astype(dtype.numpy)
        return scaled if _is_near(scaled, exact, STEP[dtype]) else None

    def replace(self, rewriter: Rewriter, weights: np.ndarray) -> None:
        nodes, old, x = [self.norm.node, self.reader], self.reader.output, self.norm.x
        shift = self.norm.shift
        with rewriter.building(*nodes) as g:
            sums = g.add_node(self.op, [x, g.constant(weights, x.type.dtype)])[0]
            if shift is not None:
                sums = g.add(sums, g.constant((shift @ self._matrix()).astype(np.float32)))
            new = g.cast_to(sums, old.type.dtype)
        rewriter.replace(WHY, [old], [new], nodes)

    def _matrix(self) -> np.ndarray:
        weights = self.reader.inputs[1]
        assert weights is not None, "a product takes two factors"
        return weights.array.astype(np.float64)


def _norm_of(node: Node) -> _Norm | None:
    """None where its parameters are not constants along the last axis, or its rows are too few or too many."""
    x, rank = node.inputs[0], node.output.type.rank
    assert x is not None, "layer_normalization takes x"
    depth, axis = x.type.shape[-1], node.op.axis % rank  # type: ignore[attr-defined]
    if (
        rank < 2
        or axis != rank - 1
        or not isinstance(depth, int)
        or x.type.dtype not in STEP
        or x.is_constant
    ):
        return None
    most = bounds(product(x.type.shape[:-1]))[1]
    if most is None or not FEW_ROWS < most <= MOST_ROWS:
        return None
    given = [v for v in node.inputs[1:] if v is not None]
    vectors = [found for v in given if (found := _vector(v, depth)) is not None]
    if len(vectors) < len(given):
        return None
    scale, shift = (*vectors, None)[:2]
    assert scale is not None, "layer_normalization takes a scale"
    return _Norm(node, x, scale, shift)


def _vector(value: Value, depth: int) -> np.ndarray | None:
    """A constant as f64 [depth]; None for one that is none, or differs by row."""
    along = value.type.count == 1 or (value.type.count == depth and value.type.shape[-1] == depth)
    if value.constant is None or not along:
        return None
    return np.broadcast_to(value.array.reshape(-1).astype(np.float64), (depth,))


def _is_near(stored: np.ndarray, exact: np.ndarray, step: float) -> bool:
    """Every column is about as exact as rounding makes it: nothing overflows, and little is too small for the dtype."""
    error = np.linalg.norm(stored.astype(np.float64) - exact, axis=0)
    return bool((error <= step * np.linalg.norm(exact, axis=0)).all())
