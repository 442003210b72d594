"""What all convolution kernels share: the problem's geometry, and loops over its tasks and taps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Function, Size
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._windows import per_axis, place_all
from engineworks.ops.conv import Conv

Three = tuple[int, ...]
"""One number for each of (depth, row, column)."""
ThreeDims = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution with its spatial axes brought to three (missing leading ones have size 1).

    Attributes:
        size, out: input and output sizes; before, after: padding.
        x_strides, y_strides: elements between neighbours along (image, depth, row, pixel); channels have stride 1.
        x_first, y_first: elements from the buffers' starts to the first window (padding not counted) and output.
    """

    batch: Dim
    groups: int
    channels: int
    outputs: int
    size: ThreeDims
    out: ThreeDims
    kernel: Three
    strides: Three
    dilations: Three
    before: ThreeDims
    after: ThreeDims
    x_strides: tuple[Dim, ...]
    y_strides: tuple[Dim, ...]
    x_first: Dim = 0
    y_first: Dim = 0

    @property
    def group_channels(self) -> int:
        return self.channels // self.groups

    @property
    def group_outputs(self) -> int:
        return self.outputs // self.groups

    @property
    def depth(self) -> int:
        """Multiply-adds of one output element: the length of the k loop."""
        return self.group_channels * self.kernel[0] * self.kernel[1] * self.kernel[2]

    @property
    def is_static(self) -> bool:
        """Everything but the number of images is known."""
        return all(
            isinstance(d, int)
            for d in (*self.size, *self.out, *self.before, *self.after, *self.x_strides, *self.y_strides)
        )

    @property
    def has_padding(self) -> bool:
        """Some tap of some window may lie outside of the input."""
        reach = [
            (self.out[a] - 1) * self.strides[a] + (self.kernel[a] - 1) * self.dilations[a] + 1
            for a in range(3)
        ]
        return any(self.before[a] != 0 for a in range(3)) or any(
            not isinstance(self.after[a], int)
            or (self.after[a] != 0 and not _at_most(reach[a], self.size[a]))
            for a in range(3)
        )

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 kernel with stride 1 over dense pixels: a matrix product of all pixels at once."""
        return self.reads_pixels and self.writes_pixels

    @property
    def reads_pixels(self) -> bool:
        """Windows are the pixels of x, one after another."""
        plain = self.kernel == (1, 1, 1) and self.strides == (1, 1, 1) and not self.has_padding
        return plain and self.size == self.out and _dense(self.x_strides, self.size)

    @property
    def writes_pixels(self) -> bool:
        """Outputs lie one after another."""
        return _dense(self.y_strides, self.out)


def _at_most(a: Dim, b: Dim) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a <= b


def _dense(strides: Sequence[Dim], size: Sequence[Dim]) -> bool:
    """Pixels follow each other with one stride, through rows, depths and images."""
    step = strides[3]
    return all(strides[k] == step * _product(size[k:]) for k in range(3))


def _product(dims: Sequence[Dim]) -> Dim:
    out: Dim = 1
    for d in dims:
        out = out * d
    return out


def pixel_strides(kind: TensorType) -> tuple[Dim, ...] | None:
    """Strides along (image, depth, row, pixel) of an [N, C, spatial…] tensor; None where channels are not innermost."""
    strides = kind.strides()
    if strides[1] != 1 and kind.shape[1] != 1:
        return None
    spatial = strides[2:]
    while len(spatial) < 3:
        spatial = (spatial[0] * kind.shape[-len(spatial)], *spatial)
    return (strides[0], *spatial)


def geometry_of(work: Workload) -> Geometry:
    """The geometry of a conv workload whose output has its channels innermost.

    `x_strides` are those of x where its channels are innermost, else those of a dense channels-last copy.

    Raises:
        NoTactic: not a conv, more than three spatial axes, or an output laid out otherwise.
    """
    if not isinstance(work.anchor, Conv):
        raise NoTactic(f"{work.anchor} is not a convolution")
    x, w, y = input_type(work, 0), input_type(work, 1), work.outputs[0]
    axes = x.rank - 2
    if axes > 3:
        raise NoTactic(f"kernels for {axes} spatial axes do not exist; 1, 2 and 3 do")
    y_strides = pixel_strides(y)
    if y_strides is None:
        raise NoTactic(f"the output {y} does not have its channels innermost in memory")
    op, kernel = work.anchor, tuple(known(k) for k in w.shape[2:])
    placed = place_all(op, x.shape[2:], kernel)
    missing = 3 - axes
    size, out = (1,) * missing + x.shape[2:], (1,) * missing + y.shape[2:]
    x_strides = pixel_strides(x) or dense_strides(size, known(x.shape[1]))
    return Geometry(
        batch=x.shape[0], groups=op.groups, channels=known(x.shape[1]), outputs=known(w.shape[0]), size=size, out=out,
        kernel=(1,) * missing + kernel,
        strides=(1,) * missing + per_axis(op.strides, axes, "strides"),
        dilations=(1,) * missing + per_axis(op.dilations, axes, "dilations"),
        before=(0,) * missing + tuple(p.pad_before for p in placed),
        after=(0,) * missing + tuple(p.pad_after for p in placed),
        x_strides=x_strides, y_strides=y_strides,
    )  # fmt: skip


def known(size: Dim | str) -> int:
    """A size that is a number where this is asked."""
    assert isinstance(size, int), f"{size} is not known when the engine is built"
    return size


def dense_strides(size: Sequence[Dim], channels: int) -> tuple[Dim, ...]:
    """Strides of a channels-last buffer whose pixels do not lie a multiple of 1 KiB apart: those share a cache set."""
    pixel: Dim = channels + 16 if channels % 256 == 0 else channels
    row = pixel * size[2]
    return (row * size[1] * size[0], row * size[1], row, pixel)


def padded(g: Geometry) -> Geometry:
    """The same convolution over a channels-last copy of x that holds its padding."""
    size = tuple(g.before[a] + g.size[a] + g.after[a] for a in range(3))
    return replace(g, size=size, before=(0, 0, 0), after=(0, 0, 0), x_strides=dense_strides(size, g.channels))


def require_f32(work: Workload) -> None:
    """Raises NoTactic unless there is an anchor that computes in f32."""
    if work.anchor is None:
        raise NoTactic("a loop nest has no anchor")
    if any(o is not None and o.type.dtype is not dtypes.f32 for o in work.inputs[: work.anchor_inputs]):
        raise NoTactic(f"this family computes in f32; {work.anchor} has {input_type(work, 0).dtype}")


# -- loops over tasks -----------------------------------------------------------------------------------------
@contextmanager
def ranges(f: Function, lo: Size, hi: Size, count: Dim, size: Size) -> Iterator[tuple[Size, Size, Size]]:
    """Split the flat range [lo, hi) over `count` parts of `size`: yields (part, first, end) within each part."""
    if count == 1:
        yield 0, lo, hi
        return
    with f.loop(f.udiv(lo, size), f.ceil_div(hi, size)) as part:
        start = f.mul(part, size)
        yield part, f.smax(f.sub(lo, start), 0), f.smin(f.sub(hi, start), size)


def valid_taps(f: Function, start: Size, size: Size, kernel: int, dilation: int) -> tuple[Size, Size]:
    """[first, end) of the taps at start + tap * dilation that lie in [0, size)."""
    first = f.udiv(f.add(f.smax(f.sub(0, start), 0), dilation - 1), dilation)
    room = f.smax(f.sub(size, start), 0)
    return f.smin(first, kernel), f.smin(f.udiv(f.add(room, dilation - 1), dilation), kernel)
