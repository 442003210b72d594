"""Convolutions through matrix units: any kernel, stride, dilation, padding, groups and layout."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from engineworks.codegen.schedule import likely
from engineworks.codegen.triton.gpu import Gpu
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cuda.conv_boxes import boxes_fit
from engineworks.kernels.cuda.conv_cost import Cost, box_for, bytes_together, tiles_down, widened
from engineworks.kernels.cuda.conv_image import ImageParts, add_implicit, layout_of, product_operands
from engineworks.kernels.cuda.conv_implicit import ConvConfig
from engineworks.kernels.cuda.conv_shape import ConvShape, conv_shape
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.conv import Conv

WANTED_CHANNELS = 32
"""Groups of fewer channels are computed together, with zeros between them."""
KEPT = (1, 4, 8, 14, 28, 1 << 20)
"""Tactics by effort."""
MOST_PIECES = 12
"""Pieces of 16 bytes of x that a thread copies in a step: the address of each takes registers."""
LEAST_ROWS = 64
"""Outputs of a tile by boxes: rows that one instruction of a matrix unit takes."""
ALIKE = 2
"""Tactics kept, below the highest effort, that differ in depth, stages and warps only."""


class CudaConv:
    """Implicit matmuls of f16, bf16, f32 (as such or tf32) and bytes."""

    name = "cuda.conv"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """Tiles by predicted time.

        Raises:
            NoTactic: another op, dtypes without matrix units, or depthwise filters.
        """
        if not isinstance(work.anchor, Conv):
            raise NoTactic(f"{work.anchor} is not a convolution")
        product_operands(work)
        finish_of(work)
        shape, _ = merged_shape(work)
        if shape.reads_pixels and shape.writes_pixels and effort < len(KEPT) - 1:
            effort = min(effort, 1)  # the matmul families have tried more
        return ranked(self.name, work, [shape], isa, effort)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """[pack filters], the implicit matmul, [add its parts]."""
        parts = ImageParts()
        shape, merged = merged_shape(work)
        add_implicit(parts, work, shape, tactic.config, merged, lambda w: w)
        return parts.image()


def merged_shape(work: Workload) -> tuple[ConvShape, int]:
    """The shape with groups of few channels taken together, and how many of them.

    Raises:
        NoTactic: see `CudaConv.propose`.
    """
    shape = conv_shape(work)
    operand = work.inputs[1]
    assert operand is not None, "a convolution has filters"
    if not operand.constant and "u8" in (input_type(work, 0).dtype.name, operand.type.dtype.name):
        raise NoTactic("sums of shifted bytes need filters that are known when the engine is built")
    if shape.groups == 1:
        return shape, 1
    if shape.channels == 1:
        raise NoTactic("filters of one channel leave matrix units nothing to sum")
    if not operand.constant:
        return shape, 1
    return together(shape)


def together(shape: ConvShape) -> tuple[ConvShape, int]:
    """Groups merged until they have enough channels for a step along k."""
    divisors = [d for d in range(1, shape.groups + 1) if shape.groups % d == 0]
    merged = next((d for d in divisors if d * shape.channels >= WANTED_CHANNELS), shape.groups)
    joined = replace(
        shape, groups=shape.groups // merged, channels=shape.channels * merged, outputs=shape.outputs * merged
    )
    return joined, merged


def ranked(name: str, work: Workload, shapes: list[ConvShape], isa: Gpu, effort: Effort) -> list[Tactic]:
    """Tactics for all shapes (phases of one workload) together, best prediction first.

    Raises:
        NoTactic: no tile fits.
    """
    costs = [cost_of(work, shape, isa) for shape in shapes]
    largest = max(shapes, key=lambda s: s.taps)
    found = []
    for config in configs(largest, costs[0]):
        wide = [widened(c.shape) if config.form == "rows" else c.shape for c in costs]
        seconds = sum(
            c.seconds(config, layout_of(w, config, 1).depth) for c, w in zip(costs, wide, strict=True)
        )
        if seconds < float("inf"):
            found.append(Tactic(name, config, seconds, is_loose=config.form == "rows"))
    if not found:
        raise NoTactic(f"no tile fits the {isa.shared_bytes} bytes of shared memory of {isa.arch}")
    found.sort(key=lambda t: t.predicted_s)
    return found if effort >= len(KEPT) - 1 else varied(found)[: KEPT[effort]]


def varied(tactics: list[Tactic]) -> list[Tactic]:
    """The first few of each kind of tile, in order."""
    seen: dict[tuple[object, ...], int] = {}
    kept = []
    for tactic in tactics:
        kind = (tactic.config.pixels, tactic.config.outputs, tactic.config.split, tactic.config.form)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= ALIKE:
            kept.append(tactic)
    return kept


def cost_of(work: Workload, shape: ConvShape, isa: Gpu) -> Cost:
    """What is known of the time before there is a tile."""
    dtype, tf32 = product_operands(work)
    x, y = input_type(work, 0), work.outputs[0]
    kinds = work.epilogue.kinds if work.epilogue else ()
    full = [o for o, kind in zip(work.inputs[work.anchor_inputs :], kinds, strict=True) if kind == "full"]
    stored = y.dtype.size_bytes + sum(o.type.dtype.size_bytes for o in full if o is not None)
    filters = shape.groups * shape.outputs * shape.channels * shape.taps * dtype.size_bytes
    boxes = boxes_fit(shape, x.dtype, input_type(work, 1).dtype, isa)
    constant = work.inputs[1] is not None and work.inputs[1].constant
    x_bytes = float(likely(x.count) * x.dtype.size_bytes)
    return Cost(isa, shape, dtype, tf32, x.dtype.size_bytes, constant, boxes, stored, x_bytes, filters)


def configs(shape: ConvShape, cost: Cost) -> Iterator[ConvConfig]:
    """Every tile that makes sense for a shape."""
    least_depth = 32 if cost.dtype.size_bytes == 1 else 16
    widest = min(256, max(16, 1 << (shape.outputs - 1).bit_length()))
    tallest = min(256, max(16, 1 << (likely(shape.pixels) - 1).bit_length()))
    depths = [d for d in (16, 32, 64, 128, 256) if least_depth <= d <= 256 // cost.dtype.size_bytes]
    sides = itertools.product((16, 32, 64, 128, 256), (16, 32, 64, 128, 256), depths)
    for pixels, outputs, depth in sides:
        if (
            pixels > tallest
            or outputs > widest
            or (outputs < 32 and widest >= 64)
            or (pixels < 32 and tallest >= 64)
        ):
            continue
        for form in forms(shape, depth, cost):
            if form == "boxes" and outputs < LEAST_ROWS:
                continue
            box = box_for(shape, pixels) if form == "boxes" else (0, 0, 0)
            for warps, split in itertools.product(warps_of(pixels * outputs), (1, 2, 3, 4, 6, 8, 12, 16)):
                yield from staged(shape, cost, ConvConfig(pixels, outputs, depth, warps, 2, split, form, box))


def staged(shape: ConvShape, cost: Cost, config: ConvConfig) -> Iterator[ConvConfig]:
    """A tile with as many stages as may help, and one less."""
    wide = widened(shape) if config.form == "rows" else shape
    steps = layout_of(wide, config, 1).depth // config.depth
    if config.split > 1 and steps < 2 * config.split:
        return
    tiles = tiles_down(shape, config) * -(-shape.outputs // config.outputs) * shape.groups
    if config.split > 1 and tiles * config.split > 3 * cost.gpu.processors:
        return
    pieces = config.pixels * config.depth * cost.x_item // (16 * 32 * config.warps)
    if pieces > MOST_PIECES and config.form != "boxes":
        return
    most = min(5, -(-steps // config.split) + 1) if cost.together(config) >= 4 else 2
    fitting = [s for s in range(2, max(2, most) + 1) if cost.resident(replace(config, stages=s))]
    for stages in fitting[-3:]:
        yield replace(config, stages=stages)


def warps_of(area: int) -> tuple[int, ...]:
    """Warps that a tile of so many results keeps busy, with at most 128 sums a thread."""
    return tuple(
        w for w in (4, 8) if (area <= 128 * 32 * w and area >= 16 * 32 * w) or (w == 4 and area < 2048)
    )


def forms(shape: ConvShape, depth: int, cost: Cost) -> tuple[str, ...]:
    """Steps within taps where that does not multiply many zeros, else over everything."""
    padded = -(-shape.channels // depth) * depth
    if padded <= 1.34 * shape.channels or (shape.taps == 1 and depth <= 32):
        # What a step has beyond its channels must lie outside of x, where it is zero.
        alone = padded == shape.channels or (shape.groups == 1 and shape.strides[2] == 1)
        return ("boxes", "taps") if cost.boxes and alone else ("taps",)
    whole = shape.channels * shape.taps
    if -(-whole // depth) * depth > max(1.5 * whole, 32):
        return ()
    return ("flat", "rows") if reads_pairs(shape, cost) else ("flat",)


def reads_pairs(shape: ConvShape, cost: Cost) -> bool:
    """Windows of narrow elements become such that pairs can be copied ahead where single elements cannot."""
    if bytes_together(shape, cost.x_item) >= 4 or not cost.constant:
        return False
    try:
        return bytes_together(widened(shape), cost.x_item) >= 4
    except NoTactic:
        return False


PROVIDERS = (CudaConv(),)
