"""Products that share an operand become one where their readers follow slices, and mean what they meant."""

from __future__ import annotations

import numpy as np

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph
from engineworks.ir.interpret import interpret
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.verify import verify
from engineworks.passes.merge_products import MergeProducts
from engineworks.passes.partition import PartitionOptions, partition

READERS = frozenset({"attention"})
HEADS, SIZE = 3, 4
WIDTH = HEADS * SIZE


def _layer(biases: tuple[bool, bool, bool] = (True, False, True), *, also_read: bool = False) -> Graph:
    rng = np.random.default_rng(0)
    g = GraphBuilder(Graph("layer"))
    x = g.input("x", dtypes.f32, (symbol("N", 1, 4), 5, WIDTH))
    heads = []
    for has_bias in biases:
        y = g.matmul(x, g.constant(rng.standard_normal((WIDTH, WIDTH)).astype(np.float32)))
        if has_bias:
            y = g.add(y, g.constant(rng.standard_normal(WIDTH).astype(np.float32)))
        split = g.reshape(y, shape=(*y.type.shape[:2], HEADS, SIZE))
        heads.append(g.transpose(split, perm=(0, 2, 1, 3)))
    g.output(g.attention(*heads, scale=0.5), "out")
    if also_read:
        g.output(g.relu(y), "read")
    return g.graph


def _merged(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    MergeProducts(READERS).run(rewriter)
    rewriter.tidy()
    verify(graph)
    return graph


def _names(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def test_queries_keys_and_values_are_one_product() -> None:
    graph, before = _merged(_layer()), _layer()
    assert _names(graph).count("matmul") == 1
    x = np.random.default_rng(1).standard_normal((2, 5, WIDTH)).astype(np.float32)
    np.testing.assert_allclose(
        interpret(graph, {"x": x})["out"], interpret(before, {"x": x})["out"], rtol=1e-4, atol=1e-5
    )


def test_what_others_read_whole_stays() -> None:
    graph = _merged(_layer(also_read=True))
    assert _names(graph).count("matmul") == 2, "queries and keys merge, values are read by another op too"


def test_a_reader_of_parts_takes_slices_in_place() -> None:
    graph = _merged(_layer())
    groups = partition(graph, PartitionOptions(frozenset({"matmul"}), part_readers=READERS))
    assert [g.anchor.op.name for g in groups if g.kind == "anchor"] == ["matmul", "attention"]
    assert not [g for g in groups if g.kind == "loops"], "nothing is copied"
    (attention,) = [g for g in groups if g.anchor.op.name == "attention"]
    whole = attention.inputs[0]
    assert whole is not None and all(v is whole for v in attention.inputs)
    assert [attention.parts[k].offset for k in range(3)] == [0, WIDTH, 2 * WIDTH]
    row = 3 * WIDTH
    assert attention.parts[1].type.strides() == (5 * row, SIZE, row, 1)


def test_parts_hold_the_elements_that_the_views_show() -> None:
    """The strides of a part, applied to the whole tensor's memory, give what the slice, reshape and transpose give."""
    graph = _merged(_layer())
    groups = partition(graph, PartitionOptions(frozenset({"matmul"}), part_readers=READERS))
    (attention,) = [g for g in groups if g.anchor.op.name == "attention"]
    whole = np.arange(2 * 5 * 3 * WIDTH, dtype=np.float32).reshape(2, 5, 3 * WIDTH)
    assert set(attention.parts) == {0, 1, 2}
    for number, part in attention.parts.items():
        shown = (
            whole[..., number * WIDTH : (number + 1) * WIDTH].reshape(2, 5, HEADS, SIZE).transpose(0, 2, 1, 3)
        )
        strides = tuple(4 * (s if isinstance(s, int) else 0) for s in part.type.strides())
        seen = np.lib.stride_tricks.as_strided(whole.reshape(-1)[part.offset :], shown.shape, strides)
        np.testing.assert_array_equal(seen, shown)


def test_parts_that_begin_between_the_widths_of_loads_are_copied() -> None:
    g = GraphBuilder(Graph("odd"))
    x = g.input("x", dtypes.f32, (2, 5, 3 * 6))
    parts = [g.slice(x, starts=(6 * k,), ends=(6 * k + 6,), axes=(2,)) for k in range(3)]
    g.output(g.attention(*parts, scale=0.5), "out")
    groups = partition(g.graph, PartitionOptions(frozenset({"matmul"}), part_readers=READERS))
    (attention,) = [group for group in groups if group.anchor.op.name == "attention"]
    assert set(attention.parts) == {0, 2}, "the second begins 24 bytes in"
