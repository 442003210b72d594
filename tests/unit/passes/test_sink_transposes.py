"""Attention that works on [sequence, batch, features] becomes products and views, and means what it meant."""

from __future__ import annotations

import numpy as np

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.partition import PartitionOptions, partition
from engineworks.passes.sink_transposes import SinkTransposes
from engineworks.rules.sets import canonical_rules

BATCH, LENGTH, HEADS, SIZE = 2, 5, 3, 4
WIDTH = HEADS * SIZE


def _draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _layer() -> Graph:
    """As torch.nn.MultiheadAttention computes it, with a residual sum behind."""
    g = GraphBuilder(Graph("layer"))
    x = g.input("x", dtypes.f32, (BATCH, LENGTH, WIDTH))
    turned = g.transpose(g.relu(x), perm=(1, 0, 2))
    packed = g.add(g.matmul(turned, g.constant(_draw(WIDTH, 3 * WIDTH))), g.constant(_draw(3 * WIDTH)))
    split = g.transpose(g.reshape(packed, shape=(1, LENGTH, BATCH, 3, WIDTH)), perm=(3, 1, 2, 0, 4))
    three = g.reshape(split, shape=(3, LENGTH, BATCH, WIDTH))

    def heads(number: int) -> Value:
        one = g.slice(three, starts=(number,), ends=(number + 1,), axes=(0,))
        merged = g.transpose(g.reshape(one, shape=(LENGTH, BATCH * HEADS, SIZE)), perm=(1, 0, 2))
        return g.reshape(merged, shape=(BATCH, HEADS, LENGTH, SIZE))

    attended = g.transpose(g.attention(*(heads(k) for k in range(3)), scale=0.5), perm=(2, 0, 1, 3))
    joined = g.reshape(attended, shape=(LENGTH, BATCH, WIDTH))
    out = g.add(g.matmul(joined, g.constant(_draw(WIDTH, WIDTH))), g.constant(_draw(WIDTH)))
    g.output(g.add(g.transpose(out, perm=(1, 0, 2)), x), "out")
    return g.graph


def test_no_kernel_moves_rows() -> None:
    graph, before = _layer(), _layer()
    rewriter = Rewriter(graph)
    for each in (SinkTransposes(), canonical_rules()):
        each.run(rewriter)
        rewriter.tidy()
    verify(graph)
    given = {"x": _draw(BATCH, LENGTH, WIDTH)}
    np.testing.assert_allclose(
        interpret(graph, given)["out"], interpret(before, given)["out"], rtol=1e-4, atol=1e-5
    )
    groups = partition(graph, PartitionOptions(frozenset({"matmul"}), part_readers=frozenset({"attention"})))
    (attention,) = [g for g in groups if g.anchor.op.name == "attention"]
    assert [attention.parts[k].offset for k in range(3)] == [0, WIDTH, 2 * WIDTH]
    row = 3 * WIDTH
    assert attention.parts[0].type.strides() == (LENGTH * row, SIZE, row, 1)
    products = [g for g in groups if g.anchor.op.name == "matmul"]
    assert [n.op.name for n in products[1].nodes] == ["matmul", "add", "add"], (
        "the residual sum is in the epilogue"
    )
