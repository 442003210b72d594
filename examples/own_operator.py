"""An operator of your own: one class is its meaning, its kernels, and its place in fusion."""

from __future__ import annotations

import numpy as np

import engineworks as ew
import engineworks.ops  # registers the operators
from engineworks.core import dtypes
from engineworks.ir import GraphBuilder, example, f32, op
from engineworks.ir.graph import Graph
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import Formula


@op("snake")
class Snake(Formula):
    """x + sin²(a x) / a."""

    a: float = 1.0

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        wave = apply("sin", x * self.a)
        return x + wave * wave / self.a

    examples = (example(f32(2, 5), a=0.5),)


g = GraphBuilder(Graph("snakes"))
x = g.input("x", dtypes.f32, (4, 1000))
g.output(g.relu(g.snake(g.mul(x, 2.0), a=0.5)), "y")
engine = ew.build(g.graph, effort=0)

given = np.random.default_rng(0).normal(size=(4, 1000)).astype(np.float32)
wide = given.astype(np.float64) * 2
assert np.allclose(engine(x=given)["y"], np.maximum(wide + np.sin(0.5 * wide) ** 2 / 0.5, 0), atol=1e-5)
launches = [r for r in engine.manifest.program if r.op == "call"]
print(f"mul, snake and relu are {len(launches)} launch")
