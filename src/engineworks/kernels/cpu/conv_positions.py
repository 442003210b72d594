"""How a convolution becomes products of tiles: where windows lie in memory, the k steps, and packed filters.

A tile of A is a few *positions*: places of windows at one distance from each other. With rows of the input stored one
after another, each with its zeros, that distance stays the same across rows; the positions behind the last output of a
row are computed and dropped. The k loop of a position is a list of *segments* of contiguous bytes: a row of the kernel
where the channels of neighbouring taps follow each other, else one tap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engineworks.core.dims import Dim, bounds, ceil_div
from engineworks.core.dtypes import DType
from engineworks.kernels.cpu.conv import Geometry, known

WORD_BYTES = 4
"""Of a k group: what is multiplied and added at once."""
LINE_BYTES = 64
MOST_ROWS = 16
"""Positions of a tile."""
FILLED_COLUMNS = 16
"""Output channels that groups are merged up to."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One axis of the input as stored: `phases` runs of `size`, each holding every stride-th place.

    Position o of tap k reads place `o + k * dilation // stride` of phase `k * dilation % stride`.
    """

    phases: int
    size: Dim

    @property
    def whole(self) -> Dim:
        return self.phases * self.size


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the windows lie.

    Attributes:
        copied: x is copied with its padding first; else it is read in place, as one row of positions (whose outputs
            may lie apart: `pitch` is that of the outputs then).
        compact: the copy leaves out the columns between windows.
        channels: of a stored pixel; three planes become pixels of four, the last of them zeros.
        depth, height: the copy's depths and rows.
        row_bytes, plane_bytes, image_bytes: of the copy.
        pitch: positions from one output row to the next.
        positions: of one slice (image and depth), or of everything when not copied.
        position_bytes: between neighbouring positions.
    """

    copied: bool
    compact: bool
    channels: int
    depth: Plane
    height: Plane
    row_bytes: Dim
    plane_bytes: Dim
    image_bytes: Dim
    pitch: Dim
    positions: Dim
    position_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Contiguous bytes of the k loop: taps (depth, row, `column` … column + columns) with all channels of a group."""

    depth: int
    row: int
    column: int
    columns: int


@dataclass(frozen=True, slots=True)
class Steps:
    """The k loop.

    Attributes:
        segments: all have `segment_bytes`.
        step_bytes: of one step, a multiple of 4.
        starts: bytes from a segment's start to each of its steps; the last one may begin before the end of the one
            before it, so that nothing behind the segment is read.
    """

    segments: tuple[Segment, ...]
    segment_bytes: int
    step_bytes: int
    starts: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.segments) * len(self.starts)


@dataclass(frozen=True, slots=True)
class Product:
    """What multiplies: dtypes of A and B as read, of the sums, and the bytes of a position that one step reads at most
    (None: a whole segment). `step_bytes` of None is for loops over k groups of their own.
    """

    left: DType
    right: DType
    sums: DType
    step_bytes: int | None = None

    @property
    def group(self) -> int:
        """Elements of a k group."""
        return WORD_BYTES // self.left.size_bytes

    @property
    def column_bytes(self) -> int:
        """Of a k group in one column of B."""
        return self.group * self.right.size_bytes


@dataclass(frozen=True, slots=True)
class PositionsPlan:
    """All that follows from the workload; `merged` groups share tiles, their filters filled up with zeros.

    `x`: dtype of the input, which the copy widens to what is multiplied. `flipped`: the copy adds 128 to bytes.
    """

    g: Geometry
    x: DType
    product: Product
    merged: int
    placed: Placed
    steps: Steps
    flipped: bool = False

    @property
    def element_bytes(self) -> int:
        """As stored."""
        return self.product.left.size_bytes

    @property
    def groups(self) -> int:
        return self.g.groups // self.merged

    @property
    def group_channels(self) -> int:
        """As stored."""
        return self.placed.channels // self.groups

    def panel_bytes(self, width: int) -> int:
        """Of the packed filters of `width` output channels."""
        groups = self.steps.count * self.steps.step_bytes // WORD_BYTES
        return groups * width * self.product.column_bytes

    @property
    def pixel_bytes(self) -> int:
        """Of a stored pixel."""
        return self.placed.channels * self.element_bytes

    @property
    def group_outputs(self) -> int:
        return self.g.group_outputs * self.merged


def plan_of(
    g: Geometry, x: DType, product: Product, *, channels_innermost: bool, copies: bool = False
) -> PositionsPlan:
    """The plan of a convolution of elements of `x`; `copies` even what could be read in place."""
    element = product.left.size_bytes
    merged = merged_groups(g)
    channels = g.group_channels * merged
    in_place = channels_innermost and x is product.left and g.reads_pixels and not copies
    in_place = in_place and _is_readable(g, channels * element, product)
    stored = 4 if g.channels == 3 and g.groups == 1 and not channels_innermost else g.channels
    placed = _in_place(g, element) if in_place else _copied(g, element, stored)
    whole_rows = g.groups == merged and g.dilations[2] == 1 and not placed.compact
    columns = g.kernel[2] if whole_rows else 1
    channels = max(channels, stored // (g.groups // merged))
    segments = tuple(
        Segment(d, r, c, columns)
        for d in range(g.kernel[0])
        for r in range(g.kernel[1])
        for c in range(0, g.kernel[2], columns)
    )
    steps = _steps(segments, columns * channels * element, product)
    return PositionsPlan(g, x, product, merged, placed, steps)


def banded(plan: PositionsPlan, rows: int) -> PositionsPlan:
    """The plan of `rows` output rows at a time, of a copied convolution over at most two axes and of known size."""
    p = plan.placed
    reach = known(p.height.size) - known(plan.g.out[1])
    height = Plane(p.height.phases, rows + reach)
    plane = height.whole * p.row_bytes
    slack = known(p.image_bytes) - known(p.depth.whole) * known(p.plane_bytes)
    image = ceil_div(plane + slack, LINE_BYTES) * LINE_BYTES
    positions = (rows - 1) * p.pitch + plan.g.out[2]
    placed = replace(p, height=height, plane_bytes=plane, image_bytes=image, positions=positions)
    return replace(plan, placed=placed)


def merged_groups(g: Geometry) -> int:
    """The fewest groups that fill the columns of a tile."""
    for merged in range(1, g.groups + 1):
        if g.groups % merged == 0 and merged * g.group_outputs >= FILLED_COLUMNS:
            return merged
    return g.groups


def _is_readable(g: Geometry, segment_bytes: int, product: Product) -> bool:
    """Tiles of A read nothing beyond x: there are enough pixels, and steps end where a pixel's channels do."""
    least = bounds(g.batch * g.out[0] * g.out[1] * g.out[2])[0]
    enough = least is not None and least >= MOST_ROWS
    static = isinstance(g.batch, int) and g.is_static
    whole = segment_bytes % WORD_BYTES == 0
    reaching_back = product.step_bytes is not None and segment_bytes >= product.step_bytes
    return (enough or static) and (whole or reaching_back)


def _in_place(g: Geometry, element: int) -> Placed:
    positions = g.batch * g.out[0] * g.out[1] * g.out[2]
    one = Plane(1, 1)
    step = known(g.x_strides[3]) * element
    return Placed(False, False, g.channels, one, one, 0, 0, 0, g.out[2], positions, step)


def _copied(g: Geometry, element: int, channels: int) -> Placed:
    stride, pixel = g.strides[2], channels * element
    compact = g.kernel[2] == 1 and stride > 1 and g.before[2] == 0
    reach = (g.kernel[2] - 1) * g.dilations[2] + 1
    if compact:
        pitch, row = g.out[2], g.out[2] * pixel
    else:
        needed = (g.out[2] - 1) * stride + reach
        pitch = ceil_div(needed - shared_columns(g), stride)
        row = pitch * stride * pixel
    depth, height = (_plane(g, a) for a in (0, 1))
    plane = height.whole * row
    slack = shared_columns(g) * pixel + (2 * MOST_ROWS + reach) * stride * pixel + 2 * LINE_BYTES
    positions = (g.out[1] - 1) * pitch + g.out[2]
    step = pixel if compact else stride * pixel
    image = ceil_div(depth.whole * plane + slack, LINE_BYTES) * LINE_BYTES
    return Placed(True, compact, channels, depth, height, row, plane, image, pitch, positions, step)


def _plane(g: Geometry, axis: int) -> Plane:
    taps = [k * g.dilations[axis] for k in range(g.kernel[axis])]
    phases = 1 + max(t % g.strides[axis] for t in taps)
    return Plane(phases, g.out[axis] + max(t // g.strides[axis] for t in taps))


def shared_columns(g: Geometry) -> int:
    """Zeros behind a row that are at once the zeros before the next one."""
    reach = (g.kernel[2] - 1) * g.dilations[2]
    needed = (g.out[2] - 1) * g.strides[2] + reach + 1
    behind = needed - g.before[2] - g.size[2]
    if not isinstance(behind, int) or not isinstance(g.before[2], int) or g.strides[2] > 1:
        return 0
    return max(0, min(behind, g.before[2], reach))


def _steps(segments: tuple[Segment, ...], length: int, product: Product) -> Steps:
    count = 1 if product.step_bytes is None else -(-length // product.step_bytes)
    step = -(-length // (count * WORD_BYTES)) * WORD_BYTES
    starts = tuple(min(k * step, max(length - step, 0)) for k in range(count))
    return Steps(segments, length, step, starts)


# -- the filters ----------------------------------------------------------------------------------------------
def pack_filters(w: np.ndarray, plan: PositionsPlan, width: int) -> np.ndarray:
    """[O, C/groups, kernel…] to [groups, panels, steps, words of a step, width, elements of a word]; zeros fill up."""
    g, steps, element = plan.g, plan.steps, plan.element_bytes
    dense = _merged(w.astype(plan.product.right.numpy).reshape(g.outputs, g.group_channels, *g.kernel), plan)
    panels = -(-plan.group_outputs // width)
    length, step = steps.segment_bytes // element, steps.step_bytes // element
    kind = plan.product.right.numpy
    out = np.zeros((plan.groups, len(steps.segments), len(steps.starts), step, panels * width), kind)
    for s, segment in enumerate(steps.segments):
        taps = dense[:, :, :, segment.depth, segment.row, segment.column : segment.column + segment.columns]
        rows = taps.transpose(0, 3, 2, 1).reshape(plan.groups, length, plan.group_outputs)
        for k, start in enumerate(steps.starts):
            first, end = k * step, min((k + 1) * step, length)
            at = first - start // element
            out[:, s, k, at : at + end - first, : plan.group_outputs] = rows[:, first:end]
    words = out.reshape(
        plan.groups, steps.count, step // plan.product.group, plan.product.group, panels, width
    )
    return np.ascontiguousarray(words.transpose(0, 4, 1, 2, 5, 3))


def _merged(w: np.ndarray, plan: PositionsPlan) -> np.ndarray:
    """[groups, outputs, stored channels, kernel…]: zeros where an output does not see a channel of its merged group."""
    g, m = plan.g, plan.merged
    out = np.zeros((plan.groups, m, g.group_outputs, m, g.group_channels, *g.kernel), w.dtype)
    own = w.reshape(plan.groups, m, g.group_outputs, g.group_channels, *g.kernel)
    for k in range(m):
        out[:, k, :, k] = own[:, k]
    dense = out.reshape(plan.groups, plan.group_outputs, m * g.group_channels, *g.kernel)
    missing = plan.group_channels - m * g.group_channels
    return np.pad(dense, [(0, 0), (0, 0), (0, missing), (0, 0), (0, 0), (0, 0)])


def step_table(plan: PositionsPlan) -> np.ndarray:
    """[steps, 5] i64: phase and place of the depth, phase and place of the row, and bytes beside them."""
    g, placed = plan.g, plan.placed
    column_bytes = g.dilations[2] * plan.pixel_bytes
    rows = []
    for s in plan.steps.segments:
        depth, row = s.depth * g.dilations[0], s.row * g.dilations[1]
        place = (depth % g.strides[0], depth // g.strides[0], row % g.strides[1], row // g.strides[1])
        column = 0 if placed.compact else s.column * column_bytes
        rows += [(*place, column + start) for start in plan.steps.starts]
    return np.array(rows, np.int64)


def byte_offsets(plan: PositionsPlan, table: np.ndarray) -> np.ndarray:
    """[steps] i64: the table's rows as bytes from a position, where all sizes are known."""
    p = plan.placed
    depth = table[:, 0] * known(p.depth.size) + table[:, 1]
    row = table[:, 2] * known(p.height.size) + table[:, 3]
    return depth * known(p.plane_bytes) + row * known(p.row_bytes) + table[:, 4]
