"""Predicted seconds of attention kernels on a GPU.

A processor runs a few programs at a time; each is a chain of waits (loads, products, a softmax that needs the products)
and work that the programs beside it compete for. Few programs cost their chain, many cost their work. The constants
are cycles of an H200, read off the machine code.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.triton.attention_shape import AttentionShape, AttentionTiles, parts_of
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import product
from engineworks.kernels import cost

CLOCK_HZ = 1.7e9
LAUNCH_S = 1.2e-6
"""One more kernel in a graph, launched while the one before it ends."""
LOAD = 700
"""Until something loaded from the level-2 cache is there."""
BLOCK = 250
"""Until products of a block of keys have gone through the units, twice."""
EXCHANGE = 120
"""A maximum or a sum across warps."""
STORE = 300
LOADED_PER_CYCLE = 64
"""Bytes that a processor takes from the level-2 cache."""
POWERS_PER_CYCLE = 4
"""Of a quarter of a processor, which runs one warp at a time."""
OPERATIONS = 7
"""Of fp32 for each score: scale, maximum, subtraction, sum, rounding …"""
REGISTERS = 1 << 16


@dataclass(frozen=True, slots=True)
class _Program:
    """Cycles of one program: `work` that it takes from the processor, `chain` that it lasts at least."""

    work: float
    chain: float


def predict(shape: AttentionShape, tiles: AttentionTiles, gpu: Gpu) -> float:
    """Seconds on the whole GPU."""
    split = tiles.form == "split"
    queries, keys = cost.typical(shape.queries), cost.typical(shape.keys, 1024)
    rows = queries * shape.sharing if split else queries
    lines = cost.typical(product(shape.batch), 8) * cost.typical(shape.heads)
    lines = lines // shape.sharing if split else lines
    programs = -(-rows // tiles.rows) * lines * tiles.splits
    one = _program(shape, tiles, gpu, _own_keys(shape, tiles, keys))
    beside = min(_together(shape, tiles, gpu), -(-programs // gpu.processors))
    waves = -(-programs // (gpu.processors * beside))
    cycles = waves * max(one.chain, beside * one.work)
    if split:
        cycles += 2 * LOAD + tiles.splits * 20 + LAUNCH_S * CLOCK_HZ
    return LAUNCH_S + cycles / CLOCK_HZ


def _own_keys(shape: AttentionShape, tiles: AttentionTiles, keys: int) -> float:
    """Keys that a program looks at, on average."""
    if tiles.form == "whole":
        return sum(width for _, width in parts_of(keys))
    own = float(-(-keys // tiles.keys) * tiles.keys) / tiles.splits
    if shape.causal and tiles.form == "flash":
        own = min(own, own / 2 + tiles.keys / 2 + tiles.rows / 2)
    return own


def _program(shape: AttentionShape, tiles: AttentionTiles, gpu: Gpu, keys: float) -> _Program:
    depth, width = (sum(w for _, w in parts_of(d)) for d in (shape.depth, shape.width))
    quarters = min(tiles.warps, 4)
    scores = tiles.rows * keys
    products = scores * (depth + width) / _multiplies(shape, tiles, gpu)
    softmax = scores / quarters * (1 / POWERS_PER_CYCLE + OPERATIONS / 32)
    loads = keys * (depth + width) * shape.dtype.size_bytes / LOADED_PER_CYCLE
    wide = _is_wide(shape, tiles, gpu)
    across = 0 if wide or tiles.rows >= 16 * tiles.warps else 2 * EXCHANGE
    if tiles.form == "whole":
        parts = len(parts_of(int(keys)))
        chain = LOAD + loads + BLOCK + products + softmax + across * parts + STORE
        return _Program(max(products + softmax, loads), chain)
    blocks = keys / tiles.keys
    fetched = LOAD * (2 if tiles.stages > 2 or blocks <= 1 else 1 + blocks)
    chain = fetched + blocks * (BLOCK + across) + products + softmax + STORE
    return _Program(max(products + softmax, loads) + blocks * BLOCK / 4, chain)


def _is_wide(shape: AttentionShape, tiles: AttentionTiles, gpu: Gpu) -> bool:
    """Groups of four warps multiply together."""
    fits = gpu.has("wgmma") and tiles.rows >= 64 and tiles.warps >= 4
    return fits and (shape.dtype is not dtypes.f32 or tiles.precision == "tf32")


def _multiplies(shape: AttentionShape, tiles: AttentionTiles, gpu: Gpu) -> float:
    """Multiply-adds of a program in a cycle."""
    quarters = min(tiles.warps, 4) / 4
    half = gpu.half_flops / gpu.processors / CLOCK_HZ / 2
    if shape.dtype is not dtypes.f32:
        return half * (0.9 if _is_wide(shape, tiles, gpu) else 0.55 * quarters)
    if tiles.precision == "ieee":
        return 0.3 * gpu.float_flops / gpu.processors / CLOCK_HZ / 2 * quarters
    return half * quarters * (0.25 if tiles.precision == "tf32" else 0.08)


def _together(shape: AttentionShape, tiles: AttentionTiles, gpu: Gpu) -> int:
    """Programs on one processor at a time, by registers and shared memory."""
    depth, width = (sum(w for _, w in parts_of(d)) for d in (shape.depth, shape.width))
    threads, size = 32 * tiles.warps, shape.dtype.size_bytes
    held = tiles.rows * (tiles.keys * (1 + size / 4) + width)
    kept = (tiles.rows * depth + 2 * tiles.stages * tiles.keys * max(depth, width)) * size
    if tiles.form == "whole":
        kept = (tiles.rows * depth + tiles.keys * (depth + width)) * size
        held = max(held, tiles.keys * (depth + width) * size / 4)
    registers = min(255.0, 45 + held / threads)
    return max(1, min(int(REGISTERS / (registers * threads)), gpu.shared_bytes // kept, 64 // tiles.warps))
