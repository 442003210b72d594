"""Which axis tells which symbol, and what the manifest says of it."""

from __future__ import annotations

import numpy as np
import pytest

import engineworks
import engineworks.ops  # registers the ops
from engineworks.builder.symbols import defining_axes, typical_values
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.types import TensorType
from engineworks.errors import BuildError, InvalidInput
from engineworks.ir.builder import GraphBuilder

N, M = symbol("N", 1, 9), symbol("a name", 0, 50)


def _types(*shapes) -> list[TensorType]:
    return [TensorType(dtypes.f32, shape) for shape in shapes]


def test_an_axis_of_its_own_is_preferred() -> None:
    assert defining_axes(_types((2 * N, M), (M, N))) == {"a name": (0, 1), "N": (1, 1)}


def test_a_linear_axis_tells_the_symbol_that_is_left() -> None:
    assert defining_axes(_types((N * M + 3, 5), (M, 1))) == {"a name": (1, 0), "N": (0, 0)}


@pytest.mark.parametrize("dim", [N * N, N // 2, N % 3, N * M])
def test_other_axes_tell_nothing(dim) -> None:
    with pytest.raises(BuildError, match=r"do not tell N.*; give it an axis of its own"):
        defining_axes(_types((dim,)))


def test_typical_values_are_solved() -> None:
    types = _types((2 * N + 1, M), (M, 4))
    assert typical_values([(types[0], (7, 11)), (types[1], None)]) == {"a name": 11, "N": 3}


def test_an_engine_solves_a_linear_axis_and_says_its_facts() -> None:
    g = GraphBuilder()
    batch = symbol("B", 4, 64, multiple_of=4)
    x, y = g.input("x", dtypes.f32, (2 * N, 3)), g.input("y", dtypes.f32, (batch,))
    g.output(g.reduce_sum(g.reshape(x, shape=(N, 6)), axes=(1,), keepdims=False), "sums")
    g.output(g.relu(y), "r")
    profile = {"x": ((2, 3), (8, 3), (18, 3)), "y": ((4,), (8,), (64,))}
    engine = engineworks.build(g.graph, effort=0, threads=1, profile=profile)
    stated = {s.name: (s.min, s.opt, s.max, s.multiple) for s in engine.manifest.symbols}
    assert stated == {"N": (1, 4, 9, 1), "B": (4, 8, 64, 4)}
    values = np.arange(30, dtype=np.float32).reshape(10, 3)
    outputs = engine(x=values, y=np.ones(12, np.float32))
    np.testing.assert_allclose(outputs["sums"], values.reshape(5, 6).sum(axis=1))
    with pytest.raises(InvalidInput, match="axis 0 must be 2\\*N"):
        engine(x=np.ones((7, 3), np.float32), y=np.ones(12, np.float32))
    with pytest.raises(InvalidInput, match="multiples of 4"):
        engine(x=values, y=np.ones(13, np.float32))
