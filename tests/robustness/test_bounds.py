"""Kernels write their outputs and not a byte beyond."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks
import engineworks.ops  # registers the ops
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph

GUARD = 4096
KINDS = (
    dtypes.u8,
    dtypes.i8,
    dtypes.i16,
    dtypes.u16,
    dtypes.bf16,
    dtypes.f16,
    dtypes.bool_,
    dtypes.i32,
    dtypes.f32,
)


def _assert_stays_inside(graph: Graph, values: dict[str, np.ndarray]) -> None:
    engine = engineworks.build(graph, effort=0, threads=1)
    shape = engine(**values)["y"]
    memory = np.full(shape.nbytes + 2 * GUARD, 0xAB, np.uint8)
    context = engine.context()
    context.bind(**values, y=memory[GUARD:-GUARD].view(shape.dtype).reshape(shape.shape))
    context.execute()
    assert (memory[:GUARD] == 0xAB).all() and (memory[-GUARD:] == 0xAB).all()
    np.testing.assert_array_equal(memory[GUARD:-GUARD], shape.reshape(-1).view(np.uint8))


@pytest.mark.parametrize("count", [1, 7, 9, 17, 33, 49])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_conversions_whose_last_vector_has_one_element(kind: dtypes.DType, count: int) -> None:
    for source in (dtypes.f32, dtypes.i64, dtypes.i32):
        g = GraphBuilder()
        g.output(g.cast(g.abs(g.input("x", source, (count,))), dtype=kind), "y")
        _assert_stays_inside(g.graph, {"x": np.ones(count, source.numpy)})


@pytest.mark.parametrize("kind", [dtypes.bf16, dtypes.f16, dtypes.i32, dtypes.f64], ids=str)
@pytest.mark.parametrize("columns", [1, 3, 17])
def test_products_with_few_columns(kind: dtypes.DType, columns: int) -> None:
    g = GraphBuilder()
    g.output(g.matmul(g.input("x", kind, (17, 5)), g.constant(np.ones((5, columns)), kind)), "y")
    _assert_stays_inside(g.graph, {"x": np.ones((17, 5), kind.numpy)})
