"""The ways to cut attention that a GPU can hold.

Bounds of registers are those of compiled kernels: beyond them the assembler spills.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from engineworks.codegen.triton.attention_shape import (
    LEAST_PART,
    AttentionShape,
    AttentionTiles,
    Precision,
    parts_of,
)
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import bounds

WHOLE_KEYS = 256
"""Up to here the scores of all keys are held at once."""
FEW_ROWS = 64
"""Up to here the rows that read one head of keys leave most of the GPU idle unless keys are split."""
SPARE_BYTES = 8 << 10
"""Of shared memory, for masks and sums across warps."""
ROWS = ((16, 1), (16, 2), (16, 4), (32, 2), (32, 4), (64, 4), (128, 8), (128, 4))
"""(rows, warps) of a program; with f16 on sm_90 64 rows are one group of four warps."""
ROWS_F32 = ((16, 2), (16, 4), (32, 4), (64, 4), (64, 8))
KEY_BLOCKS = (32, 64, 128)
STAGES = (2, 3, 4)
SPLITS = (4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Columns of a head as they are held, and bytes of an element."""

    depth: int
    width: int
    element: int

    @property
    def line(self) -> int:
        """Bytes of a key and its value."""
        return (self.depth + self.width) * self.element


def tilings(shape: AttentionShape, gpu: Gpu, precision: Precision) -> list[AttentionTiles]:
    """Those that fit; where none does, the smallest, if shared memory holds it."""
    sizes = _Sizes(_held(shape.depth), _held(shape.width), shape.dtype.size_bytes)
    drafts = [*_whole(shape), *_flash(shape), *_split(shape)]
    placed = [replace(t, precision=precision) for t in drafts if _fits_shared(t, sizes, gpu)]
    found = [t for t in placed if _fits_registers(t, sizes, shape, gpu)]
    if found:
        return found
    least = AttentionTiles("flash", LEAST_PART, KEY_BLOCKS[0], 4, 1, 1, precision)
    return [least] if _fits_shared(least, sizes, gpu) else []


def _held(columns: int) -> int:
    return sum(width for _, width in parts_of(columns))


def _rows(shape: AttentionShape) -> list[tuple[int, int]]:
    _, most = bounds(shape.queries)
    tiles = ROWS_F32 if shape.dtype is dtypes.f32 else ROWS
    return [t for t in tiles if most is None or t[0] < 2 * most or t[0] == LEAST_PART]


def _whole(shape: AttentionShape) -> Iterator[AttentionTiles]:
    if isinstance(shape.keys, int) and shape.keys <= WHOLE_KEYS:
        held = _held(shape.keys)
        for rows, warps in _rows(shape):
            yield AttentionTiles("whole", rows, held, warps, 1)


def _flash(shape: AttentionShape) -> Iterator[AttentionTiles]:
    _, most = bounds(shape.keys)
    for keys in KEY_BLOCKS:
        if most is not None and keys >= most and keys > KEY_BLOCKS[0]:
            return  # one block is better held whole
        deepest = STAGES[-1] if most is None else max(STAGES[0], 1 + -(-most // keys))
        for rows, warps in _rows(shape):
            for stages in STAGES:
                if stages <= deepest:
                    yield AttentionTiles("flash", rows, keys, warps, stages)


def _split(shape: AttentionShape) -> Iterable[AttentionTiles]:
    _, queries = bounds(shape.queries)
    _, keys = bounds(shape.keys)
    if queries is None or queries * shape.sharing > FEW_ROWS or (keys is not None and keys <= WHOLE_KEYS):
        return
    rows = max(LEAST_PART, 1 << (queries * shape.sharing - 1).bit_length())
    for splits in SPLITS:
        for block in KEY_BLOCKS:
            for stages in STAGES[:2]:
                if keys is None or splits * block <= 2 * keys:
                    yield AttentionTiles("split", rows, block, 4, stages, splits)


def _fits_shared(tiles: AttentionTiles, sizes: _Sizes, gpu: Gpu) -> bool:
    blocks = tiles.stages * tiles.keys * sizes.line
    return tiles.rows * sizes.depth * sizes.element + blocks <= gpu.shared_bytes - SPARE_BYTES


def _fits_registers(tiles: AttentionTiles, sizes: _Sizes, shape: AttentionShape, gpu: Gpu) -> bool:
    threads = 32 * tiles.warps
    scores, sums = tiles.rows * tiles.keys / threads, tiles.rows * sizes.width / threads
    on_the_way = tiles.keys * sizes.line / 4 / threads
    wide = gpu.has("wgmma") and tiles.rows >= 64 and tiles.warps >= 4
    if tiles.form == "whole":
        most = 128.0
        if shape.dtype is dtypes.f32:
            most = {"tf32": 128.0, "tf32x3": 64.0, "ieee": 32.0}[tiles.precision]
        return max(scores, on_the_way) <= most
    # Copies to shared memory have addresses: one for each 16 bytes of a thread.
    if on_the_way > (128 if wide else 64) and (tiles.keys > KEY_BLOCKS[0] or tiles.warps < 4):
        return False
    if shape.dtype is not dtypes.f32 or tiles.precision == "tf32":
        return scores + sums <= (160 if wide else 96)
    if tiles.precision == "tf32x3":
        return scores + max(sums, tiles.rows * sizes.depth / threads) <= (
            72 if wide and tiles.warps == 4 else 20
        )
    return scores <= 8 and scores * sums <= 128
