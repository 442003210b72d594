"""One engine, many threads: contexts share code and weights, and run at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import engineworks as ew
import engineworks.ops  # registers the operators
from engineworks.core import dtypes
from engineworks.ir import GraphBuilder
from engineworks.ir.graph import Graph

g = GraphBuilder(Graph("layers"))
random = np.random.default_rng(0)
x = g.input("x", dtypes.f32, (8, 128))
hidden = g.gelu(g.matmul(x, random.normal(0, 0.1, (128, 256)).astype(np.float32)))
g.output(g.matmul(hidden, random.normal(0, 0.1, (256, 32)).astype(np.float32)), "y")
engine = ew.build(g.graph, effort=0)

inputs = [random.normal(size=(8, 128)).astype(np.float32) for _ in range(16)]
alone = [engine(x=array)["y"] for array in inputs]


def work(array: np.ndarray) -> np.ndarray:
    """`engine(...)` keeps a context for each thread."""
    return engine(x=array)["y"]


with ThreadPoolExecutor(4) as pool:
    together = list(pool.map(work, inputs))
assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
print(f"{len(together)} results of 4 threads equal those of one")
