"""Predicted seconds of attention kernels on a GPU: waves of programs, each as slow as its slowest unit.

The constants are those of an H200: what a program waits for (loads, a chain of products) rather than what it computes
decides at small batches.
"""

from __future__ import annotations

from engineworks.codegen.triton.attention import AttentionShape, AttentionTiles, parts_of
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import product
from engineworks.kernels import cost

LAUNCH_S = 1.5e-6
"""One more kernel in a graph, with overlap."""
BLOCK_LATENCY_S = 0.45e-6
"""A block of keys: two dependent products and a softmax between them."""
FIRST_LOAD_S = 0.9e-6
EXPONENTIALS_PER_S = 16 * 1.7e9
"""Of one processor."""
L2_BYTES_PER_S = 40e9
"""That one processor can draw from the level-2 cache."""


def predict(shape: AttentionShape, config: AttentionTiles, gpu: Gpu) -> float:
    """Seconds on the whole GPU."""
    split = config.form == "split"
    queries, keys = cost.typical(shape.queries), cost.typical(shape.keys, 1024)
    rows = queries * shape.sharing if split else queries
    lines = (
        cost.typical(product(shape.batch), 8) * cost.typical(shape.heads) // (shape.sharing if split else 1)
    )
    programs = -(-rows // config.rows) * lines * config.splits
    own_keys = _padded(keys, config) / config.splits
    if shape.causal and not split and config.form == "flash":
        own_keys = own_keys / 2 + config.keys / 2
    depth, width = (sum(w for _, w in parts_of(d)) for d in (shape.depth, shape.width))
    together = min(max(1, _together(shape, config, gpu, depth)), -(-programs // gpu.processors))
    scores = config.rows * own_keys
    products = 2 * scores * (depth + width) / (_rate(shape, config, gpu) / gpu.processors)
    powers = scores / EXPONENTIALS_PER_S
    loads = own_keys * (depth + width) * shape.dtype.size_bytes / L2_BYTES_PER_S
    blocks = 2 if config.form == "whole" else own_keys / config.keys * (1.2 if config.stages < 3 else 1.0)
    busy = max(products + powers, loads) * together
    one = max(busy, BLOCK_LATENCY_S * blocks) + FIRST_LOAD_S
    waves = -(-programs // (gpu.processors * together))
    return LAUNCH_S + waves * one + (LAUNCH_S + FIRST_LOAD_S if split else 0.0)


def _padded(keys: int, config: AttentionTiles) -> int:
    return config.keys if config.form == "whole" else -(-keys // config.keys) * config.keys


def _together(shape: AttentionShape, config: AttentionTiles, gpu: Gpu, depth: int) -> int:
    """Programs on one processor at a time."""
    shared = (config.rows + 2 * config.stages * min(config.keys, 128)) * depth * shape.dtype.size_bytes
    return min(gpu.shared_bytes // max(shared, 1), 16 // config.warps, 8)


def _rate(shape: AttentionShape, config: AttentionTiles, gpu: Gpu) -> float:
    """Products of the whole GPU, flops: groups of four warps on 64 rows use the wide units of sm_90."""
    if shape.dtype is dtypes.f32:
        return {
            "ieee": 0.25 * gpu.float_flops, "tf32": 0.2 * gpu.half_flops, "tf32x3": 0.07 * gpu.half_flops,
        }[config.precision]  # fmt: skip
    wide = config.rows >= 64 and config.warps >= 4
    return gpu.half_flops * (0.7 if wide and gpu.has("wgmma") else 0.4) * min(1.0, config.warps / 2)
