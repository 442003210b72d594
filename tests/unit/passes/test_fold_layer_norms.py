"""Layer norms join small products of constants behind them, and the network means what it meant."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.builder.report import decode
from engineworks.core import dtypes
from engineworks.core.dims import Dim, symbol
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.fold_layer_norms import FoldLayerNorms

WIDTH, HEADS = 32, 2
FOLDED, NORM = "normalised_matmul", "layer_normalization"


class _Block:
    """Constants of one dtype, from one seed, in a graph that takes x [1, rows, 32]."""

    def __init__(self, dtype: DType, rows: Dim = 12) -> None:
        self.g, self.dtype, self.rng = GraphBuilder(Graph("block")), dtype, np.random.default_rng(0)
        self.x = self.g.input("x", dtype, (1, rows, WIDTH))

    def constant(self, *shape: int, low: float = -1.0, high: float = 1.0) -> Value:
        return self.g.constant(self.rng.uniform(low, high, shape).astype(self.dtype.numpy), self.dtype)

    def norm(self, x: Value, *, shifted: bool = True) -> Value:
        shift = (self.constant(WIDTH),) if shifted else ()
        return self.g.layer_normalization(x, self.constant(WIDTH, low=0.5, high=1.5), *shift, epsilon=1e-5)

    def linear(self, x: Value, columns: int) -> Value:
        depth = x.type.shape[-1]
        assert isinstance(depth, int)
        product = self.g.matmul(x, self.constant(depth, columns, low=-0.2, high=0.2))
        return self.g.add(product, self.constant(columns))

    def finished(self, out: Value) -> Graph:
        self.g.output(out, "out")
        return self.g.graph


def _vision(dtype: DType, rows: Dim = 12) -> Graph:
    """As in ViT: attention and a wide pair of products, each behind its norm, each added to what it read."""
    b = _Block(dtype, rows)
    g = b.g
    joined = b.linear(b.norm(b.x), 3 * WIDTH)
    heads = []
    for k in range(3):
        part = g.slice(joined, starts=(k * WIDTH,), ends=((k + 1) * WIDTH,), axes=(2,))
        split = g.reshape(part, shape=(1, rows, HEADS, WIDTH // HEADS))
        heads.append(g.transpose(split, perm=(0, 2, 1, 3)))
    seen = g.transpose(g.attention(*heads, scale=0.25), perm=(0, 2, 1, 3))
    x = g.add(b.x, b.linear(g.reshape(seen, shape=(1, rows, WIDTH)), WIDTH))
    return b.finished(g.add(x, b.linear(g.gelu(b.linear(b.norm(x), 2 * WIDTH)), WIDTH)))


def _language(dtype: DType, rows: Dim = 12) -> Graph:
    """As in GPT-2: a norm in front of logits, without shift, and one that three products read."""
    b = _Block(dtype, rows)
    y = b.norm(b.x)
    x = b.g.add(b.x, b.g.mul(b.linear(y, WIDTH), b.g.add(b.linear(y, WIDTH), b.linear(y, WIDTH))))
    return b.finished(b.linear(b.norm(x, shifted=False), 48))


BLOCKS = {"vision": _vision, "language": _language}


def _folded(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    FoldLayerNorms(lambda x, products: True).run(rewriter)
    rewriter.tidy()
    verify(graph)
    return graph


def _count(graph: Graph, name: str) -> int:
    return sum(n.op.name == name for n in graph.nodes)


def _x(dtype: DType, rows: int = 12) -> np.ndarray:
    return np.random.default_rng(1).normal(0.3, 1.5, (1, rows, WIDTH)).astype(dtype.numpy)


def _assert_same(made: np.ndarray, wanted: np.ndarray, dtype: DType) -> None:
    assert made.dtype == dtype.numpy
    wide = wanted.astype(np.float64)
    error = np.abs(made.astype(np.float64) - wide).max() / np.abs(wide).max()
    assert error < {"f32": 2e-6, "f16": 4e-3, "bf16": 3e-2}[dtype.name]


@pytest.mark.parametrize("dtype", [dtypes.f32, dtypes.f16, dtypes.bf16], ids=str)
@pytest.mark.parametrize("block", BLOCKS)
def test_every_norm_of_a_block_is_folded_and_nothing_changes(block: str, dtype: DType) -> None:
    graph, before = _folded(BLOCKS[block](dtype)), BLOCKS[block](dtype)
    assert _count(graph, NORM) == 0
    assert _count(graph, FOLDED) == {"vision": 2, "language": 4}[block]
    feeds = {"x": _x(dtype)}
    _assert_same(interpret(graph, feeds)["out"], interpret(before, feeds)["out"], dtype)


def test_rows_known_at_run_time_are_folded_when_they_are_few() -> None:
    assert _count(_folded(_language(dtypes.f16, symbol("N", 1, 64))), NORM) == 0
    assert _count(_folded(_language(dtypes.f16, symbol("N", 1, 4096))), NORM) == 2
    assert _count(_folded(_language(dtypes.f16, symbol("N", 1, None))), NORM) == 2


def test_of_many_rows_and_of_very_few_norms_stay() -> None:
    for rows in (8, 513):
        assert _count(_folded(_language(dtypes.f16, rows)), NORM) == 2


def test_of_large_products_norms_stay() -> None:
    b = _Block(dtypes.f16, 512)
    assert _count(_folded(b.finished(b.linear(b.norm(b.x), 8192))), NORM) == 1


def test_a_norm_that_others_read_stays() -> None:
    b = _Block(dtypes.f16)
    y = b.norm(b.x)
    assert _count(_folded(b.finished(b.g.add(b.linear(y, WIDTH), y))), NORM) == 1


def test_a_norm_that_is_an_output_stays() -> None:
    b = _Block(dtypes.f16)
    y = b.norm(b.x)
    b.g.output(y, "rows")
    assert _count(_folded(b.finished(b.linear(y, WIDTH))), NORM) == 1


def test_scales_and_weights_that_are_no_constants_stay() -> None:
    b = _Block(dtypes.f16)
    scale = b.g.input("scale", dtypes.f16, (WIDTH,))
    assert _count(_folded(b.finished(b.linear(b.g.layer_normalization(b.x, scale), 5))), NORM) == 1
    b = _Block(dtypes.f16)
    weights = b.g.input("weights", dtypes.f16, (WIDTH, 7))
    assert _count(_folded(b.finished(b.g.matmul(b.norm(b.x), weights))), NORM) == 1


def test_norms_over_more_than_the_last_axis_stay() -> None:
    b = _Block(dtypes.f16)
    y = b.g.layer_normalization(b.x, b.constant(12, WIDTH), axis=1)
    assert _count(_folded(b.finished(b.linear(y, 5))), NORM) == 1


@pytest.mark.parametrize("size", [3e5, 1e-6], ids=["overflows", "too small"])
def test_weights_that_the_dtype_cannot_hold_any_more_stay(size: float) -> None:
    b = _Block(dtypes.f16)
    scale = b.g.constant(np.full(WIDTH, min(size, 6e4), np.float16), dtypes.f16)
    y = b.g.layer_normalization(b.x, scale)
    weights = b.constant(WIDTH, 16, low=2.0, high=3.0) if size > 1 else b.constant(WIDTH, 16)
    assert _count(_folded(b.finished(b.g.matmul(y, weights))), NORM) == 1


def test_products_in_tf32_stay() -> None:
    b = _Block(dtypes.f32)
    out = b.g.matmul(b.norm(b.x), b.constant(WIDTH, 16), allow_tf32=True)
    assert _count(_folded(b.finished(out)), NORM) == 1


@pytest.mark.parametrize("dtype", [dtypes.f16, dtypes.f32], ids=str)
@pytest.mark.parametrize("block", BLOCKS)
def test_an_engine_has_no_kernels_for_norms(
    block: str, dtype: DType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="building for cuda needs it")
    from engineworks.builder.norms import NormChooser
    from engineworks.engine import container
    from engineworks.runtime.engine import Engine
    from engineworks.testing.emulated_gpu import build_emulated, emulated_device

    monkeypatch.setattr(NormChooser, "pays", lambda self, x, products: True)
    made = build_emulated(BLOCKS[block](dtype), effort=0, timing_cache=False, tf32=False)
    report = decode(bytes(container.read(made).sections["report"]))
    kinds = [g.ops[0] for g in report.groups]
    assert sum(k.startswith(FOLDED) for k in kinds) == {"vision": 2, "language": 4}[block]
    assert not [g for g in report.groups if any("reduce" in each for each in g.ops)]
    feeds = {"x": _x(dtype)}
    out = Engine.open(made, device=emulated_device()).run(**feeds)["out"]
    _assert_same(out, interpret(BLOCKS[block](dtype), feeds)["out"], dtype)
