"""Blocks of pixels by channels, for kernels that walk over windows without matrix units, and their predicted times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import Dim, multiple_of
from engineworks.kernels.cuda.conv_cost import LAUNCH_S
from engineworks.kernels.cuda.conv_shape import ConvShape
from engineworks.kernels.tactic import Tactic
from engineworks.kernels.workload import Workload, input_type

NEAR_BYTES_PER_S = 18e12
"""Of the first-level caches of 132 processors, as these kernels read them."""
ELEMENT_S = 4e-9
"""Of one tap of one element of a thread, one after the other."""
KEPT = (1, 3, 5, 8, 12, 99)
"""Tactics by effort."""


@dataclass(frozen=True, slots=True)
class BlockConfig:
    """`pixels` by `channels` results of a block of `warps`."""

    pixels: int
    channels: int
    warps: int


def ranked_blocks(
    name: str, work: Workload, shape: ConvShape, channels: Dim, isa: Gpu, effort: int
) -> list[Tactic]:
    """Blocks for a shape whose results have so many channels, best prediction first."""
    found = [
        Tactic(name, config, _seconds(work, shape, likely(channels), config, isa))
        for config in _configs(likely(channels), shape.x_strides[1] == 1 or shape.y_strides[1] == 1)
    ]
    return sorted(found, key=lambda t: t.predicted_s)[: KEPT[effort]]


def _configs(channels: int, last: bool) -> Iterator[BlockConfig]:
    """Wide along the axis that is innermost in memory: channels (`last`) or pixels."""
    widest = min(256, max(1, 1 << (channels - 1).bit_length()))
    across = [c for c in (32, 64, 128, 256) if c <= widest] or [widest]
    sides = (
        itertools.product((4, 8, 16, 32, 64, 128), across)
        if last
        else itertools.product((64, 128, 256, 512), [c for c in (1, 2, 4, 8) if c <= widest])
    )
    for (pixels, held), warps in itertools.product(sides, (2, 4, 8)):
        threads = 32 * warps
        if pixels * held <= 32 * threads and (pixels * held >= 2 * threads or warps == 2):
            yield BlockConfig(pixels, held, warps)


def _seconds(work: Workload, shape: ConvShape, channels: int, config: BlockConfig, isa: Gpu) -> float:
    """Memory once, the near caches once for each tap, what is lost at the edges of blocks, and the last block."""
    x, y = input_type(work, 0), work.outputs[0]
    pixels = likely(shape.pixels)
    down, across = -(-pixels // config.pixels), -(-channels // config.channels)
    waste = down * config.pixels * across * config.channels / (pixels * channels)
    moved = (likely(x.count) * x.dtype.size_bytes + likely(y.count) * y.dtype.size_bytes) / isa.bytes_per_s
    resident = isa.processors * max(1, 48 // config.warps)
    blocks = down * across
    uneven = -(-blocks // resident) * resident / blocks if blocks > resident else 1.0
    near = pixels * channels * shape.taps * max(2, x.dtype.size_bytes) / NEAR_BYTES_PER_S * waste * uneven
    near *= (16 / _read_at_once(shape, config, x.dtype.size_bytes)) ** 0.5
    moved *= 1 + 0.1 * (waste * uneven - 1)
    alone = max(4.0, config.pixels * config.channels / (32 * config.warps)) * shape.taps * ELEMENT_S
    return LAUNCH_S + max(moved, near) + 0.3 * min(moved, near) + alone


def _read_at_once(shape: ConvShape, config: BlockConfig, item: int) -> int:
    """Bytes of one load of a thread: what it has of a block, where that lies side by side and aligned."""
    own = config.pixels * config.channels // (32 * config.warps)
    row = config.channels if shape.x_strides[1] == 1 else 1
    apart = [multiple_of(s) for s in (shape.x_strides[0], *shape.x_strides[2:]) if s != 0]
    together = math.gcd(16 // item, row, *apart) if shape.x_strides[1] == 1 else 1
    return max(item, min(16, item * min(max(1, own), together)))
