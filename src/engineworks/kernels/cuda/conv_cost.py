"""Predicted times of convolution tiles on a GPU: for ranking candidates, not for quoting.

A processor holds as many blocks as its shared memory and registers allow; a step along k takes the longest of its
multiply-adds, the bytes it brings from the second-level cache, and the memory's latency over the steps in flight.
Constants fit the measurements in docs/developers/gpu-performance.md (H200).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import multiple_of
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.conv_implicit import ConvConfig
from engineworks.kernels.cuda.conv_shape import ConvShape

LAUNCH_S = 1.8e-6
"""Of a kernel in a graph, its first addresses and its last stores."""
LATENCY_S = 0.65e-6
"""From asking for a tile to having it."""
CACHE_BYTES_PER_S = 10e12
"""Of the second-level cache of 132 processors."""
PARTS_S = 1.5e-6
"""Of a second kernel."""
STEP_S = 0.04e-6
"""Of a step that is not arithmetic: barriers, addresses."""
REGISTERS = 65536


BOXES_GAIN = 1.1
"""How much faster tensor copies bring bytes than threads do."""
RATES = {16: 1.0, 8: 0.8, 4: 0.5, 2: 0.1, 1: 0.05}
"""Of what the second-level cache gives, by the bytes that are read at once. Fewer than four are not copied ahead."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a shape costs on a GPU, whatever the tile.

    Attributes:
        dtype: of the operands. tf32: f32 operands go through matrix units.
        x_item: bytes of an element of x. constant: the filters are known at build.
        boxes: tensor copies can bring x.
        stored_bytes: written and read at the end for each result.
        x_bytes, w_bytes: of the inputs, once.
    """

    gpu: Gpu
    shape: ConvShape
    dtype: DType
    tf32: bool
    x_item: int
    constant: bool
    boxes: bool
    stored_bytes: int
    x_bytes: float
    w_bytes: float

    def flops(self, config: ConvConfig) -> float:
        """Of one processor, with this tile."""
        gpu = self.gpu
        if self.dtype.name == "f32":
            rate = gpu.half_flops / 2 if self.tf32 else gpu.float_flops * 0.35
        else:
            rate = gpu.half_flops * 1.15 * (1.3 if self.dtype.name == "i8" else 1.0)
        narrow = 0.55 if config.pixels < 64 and gpu.has("wgmma") else 1.0
        side = min(1.0, 0.55 + 0.2 * min(config.outputs, config.pixels) / 64)
        return rate * narrow * side / gpu.processors

    def together(self, config: ConvConfig) -> int:
        """Bytes of x that a thread reads at once."""
        if config.form == "boxes":
            return 16
        shape = widened(self.shape) if config.form == "rows" else self.shape
        return bytes_together(shape, self.x_item)

    def shared_bytes(self, config: ConvConfig) -> int:
        """Of one block's buffers."""
        step = (config.pixels + config.outputs) * config.depth * self.dtype.size_bytes
        return step * config.stages

    def resident(self, config: ConvConfig) -> int:
        """Blocks of one processor; 0 where one does not fit."""
        sums = config.pixels * config.outputs // (32 * config.warps)
        registers = 32 * config.warps * min(255, sums + (32 if config.form == "boxes" else 56))
        whole = self.gpu.shared_bytes - 1024
        return min(
            whole // (self.shared_bytes(config) + 1024),
            REGISTERS // registers,
            2048 // (32 * config.warps),
            16,
        )

    def seconds(self, config: ConvConfig, depth: int) -> float:
        """Predicted time. `depth`: of k, with padding."""
        gpu, shape, resident = self.gpu, self.shape, self.resident(config)
        if resident == 0:
            return float("inf")
        pixels = likely(shape.pixels)
        tiles = tiles_down(shape, config) * -(-shape.outputs // config.outputs) * shape.groups
        blocks, steps = tiles * config.split, -(-depth // (config.depth * config.split))
        full, rest = divmod(blocks, gpu.processors * resident)
        total = full * self._wave(config, steps, resident)
        if rest:
            total += self._wave(config, steps, -(-rest // gpu.processors))
        results = float(pixels * shape.outputs * shape.groups)
        memory = (self.x_bytes + self.w_bytes + results * self.stored_bytes) / gpu.bytes_per_s
        seconds = LAUNCH_S + max(total, memory) + 0.15 * min(total, memory)
        if config.split > 1:
            seconds += PARTS_S + results * 8 * config.split / CACHE_BYTES_PER_S
        return seconds

    def _wave(self, config: ConvConfig, steps: int, together: int) -> float:
        """Time of blocks that start together on one processor."""
        multiply = 2 * config.pixels * config.outputs * config.depth / self.flops(config)
        multiply += STEP_S / 2 if config.form == "boxes" else STEP_S
        moved = (config.pixels + config.outputs) * config.depth * self.dtype.size_bytes
        rate = CACHE_BYTES_PER_S / 132 * RATES[self.together(config)]
        if config.form == "boxes":
            rate *= BOXES_GAIN
        rate *= min(1.0, 0.4 + 0.6 * config.depth * self.dtype.size_bytes / 128)
        waiting = LATENCY_S / max(1, config.stages - 1)
        step = max(together * multiply, together * moved / rate, waiting)
        stored = together * config.pixels * config.outputs * 4 / (CACHE_BYTES_PER_S / 132)
        return LATENCY_S + steps * step + stored


def tiles_down(shape: ConvShape, config: ConvConfig) -> int:
    """Tiles of pixels."""
    if config.form == "boxes":
        return boxes_of((likely(shape.batch), likely(shape.out[1]), likely(shape.out[2])), config.box)
    return -(-likely(shape.pixels) // config.pixels)


def boxes_of(sizes: tuple[int, ...], box: tuple[int, int, int]) -> int:
    """How many boxes cover (images, rows, columns)."""
    return math.prod(-(-size // edge) for size, edge in zip(sizes, box, strict=True))


def box_for(shape: ConvShape, pixels: int) -> tuple[int, int, int]:
    """(images, rows, columns) of the box of so many pixels that covers the outputs with the fewest, squarest."""
    sizes = (likely(shape.batch), likely(shape.out[1]), likely(shape.out[2]))
    powers = [1 << k for k in range(pixels.bit_length())]
    found = [box for box in itertools.product(powers, powers, powers) if math.prod(box) == pixels]
    return min(found, key=lambda box: (boxes_of(sizes, box), abs(box[1] - box[2]), box))


def bytes_together(shape: ConvShape, item: int) -> int:
    """Bytes that lie side by side, and aligned, under neighbouring k."""
    image, channel, *spatial = shape.x_strides
    if channel == 1:
        runs = [shape.channels, image, *spatial]
    elif spatial[2] == 1 and shape.steps[2] == 1:
        runs = [shape.kernel[2], shape.strides[2], shape.before[2], image, channel, *spatial[:2]]
    else:
        return item
    shared = math.gcd(16, *(multiple_of(d) for d in runs))
    return min(16, item * (shared & -shared))


def widened(shape: ConvShape) -> ConvShape:
    """Windows that begin at an even column, with rows of a power of two, of which the first and last may be zeros.

    A window then reads some columns beside its own, and multiplies them by zero: infinities there become NaN.

    Raises:
        NoTactic: pairs of columns would not lie at even places.
    """
    before = shape.before[2]
    strides = [s for s in (*shape.x_strides[:2], *shape.x_strides[2:4]) if s != 0]
    even = all(multiple_of(d) % 2 == 0 for d in (*strides, shape.size[2], shape.strides[2]))
    if not (even and isinstance(before, int) and shape.x_strides[4] == 1 and shape.steps[2] == 1):
        raise NoTactic("pairs of columns do not lie at even places")
    width = 1 << (shape.kernel[2] + before % 2 - 1).bit_length()
    return replace(shape, kernel=(*shape.kernel[:2], width), before=(*shape.before[:2], before + before % 2))
