"""Writes a small engine, with inputs and the outputs they must give: the frozen sample of a format version.

    python tools/make_engine.py tests/golden/engines/v1 cpu:avx2

A sample, once released, is never written again: later versions must go on reading it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import engineworks
import engineworks.ops  # registers the operators
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.ir import GraphBuilder, interpret
from engineworks.ir.graph import Graph


def sample_graph() -> Graph:
    """A classifier of 12 x 12 images, any number up to 8 of them: convolution, pooling, matmul, softmax."""
    random = np.random.default_rng(7)
    g = GraphBuilder(Graph("sample"))
    count = symbol("N", 1, 8)
    image = g.input("image", dtypes.f32, (count, 3, 12, 12))
    filters, bias = random.normal(0, 0.3, (8, 3, 3, 3)), random.normal(0, 0.1, 8)
    found = g.relu(g.conv(image, _f32(filters), _f32(bias), pads=(1, 1, 1, 1)))
    pooled = g.reduce_mean(found, axes=(2, 3), keepdims=False)
    scores = g.add(g.matmul(pooled, _f32(random.normal(0, 1, (8, 5)))), _f32(random.normal(0, 1, 5)))
    g.output(g.softmax(scores, axis=-1), "classes")
    return g.graph


def _f32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def main(folder: str, target: str = "cpu") -> None:
    """Write sample.engine and sample.npz into a folder."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    graph = sample_graph()
    image = np.random.default_rng(8).normal(0, 1, (3, 3, 12, 12)).astype(np.float32)
    classes = interpret.interpret(sample_graph(), {"image": image})["classes"]
    engineworks.build(graph, target=target, effort=0).save(place / "sample.engine")
    np.savez(place / "sample.npz", image=image, classes=classes)


if __name__ == "__main__":
    main(*sys.argv[1:])
