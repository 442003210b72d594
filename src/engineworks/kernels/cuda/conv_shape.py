"""Convolutions as the CUDA kernels see them: sizes, strides and windows along three spatial axes, in any layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from engineworks.core.dims import Dim, ceil_div, known_at_most, product
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._windows import per_axis, place_all
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose

T = TypeVar("T")
AXES = 3
"""Spatial axes of a shape; missing leading ones have size 1."""


@dataclass(frozen=True, slots=True)
class ConvShape:
    """y[n, g, o, p] = sum over c and k of w[g, o, c, k] x[n, g, c, (p strides + k steps - before) / divisors].

    Taps whose input index is no whole number, or lies outside of x, add nothing.

    Attributes:
        channels, outputs: of one group.
        size, out, kernel, strides, steps, before, divisors: along depth, row and column. A step is the dilation, or
            its negative where the taps run backwards. `before` may be negative.
        x_strides, y_strides: elements between neighbours along (image, channel, depth, row, column).
        y_first: elements from the start of y to the first output.
        scatter: results of one pixel along depth, row and column, where each makes several: `outputs` then counts them
            all, position by position, and y_strides are those between neighbouring pixels' first results.
    """

    batch: Dim
    groups: int
    channels: int
    outputs: int
    size: tuple[Dim, ...]
    out: tuple[Dim, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    steps: tuple[int, ...]
    before: tuple[Dim, ...]
    x_strides: tuple[Dim, ...]
    y_strides: tuple[Dim, ...]
    y_first: Dim = 0
    divisors: tuple[int, ...] = (1, 1, 1)
    scatter: tuple[int, ...] = (1, 1, 1)

    @property
    def group_channels_out(self) -> int:
        """Channels of y that one group has."""
        return self.outputs // (self.scatter[0] * self.scatter[1] * self.scatter[2])

    @property
    def taps(self) -> int:
        """Positions of the window."""
        return self.kernel[0] * self.kernel[1] * self.kernel[2]

    @property
    def pixels(self) -> Dim:
        """Outputs of one channel, over all images."""
        return self.batch * product(self.out)

    def may_leave(self, axis: int) -> bool:
        """Some window may reach outside of x along the axis."""
        low = min(0, (self.kernel[axis] - 1) * self.steps[axis])
        high = max(0, (self.kernel[axis] - 1) * self.steps[axis])
        last = (self.out[axis] - 1) * self.strides[axis] + high - self.before[axis]
        stays = known_at_most(self.before[axis], low) and known_at_most(last + 1, self.size[axis])
        return not stays

    @property
    def reads_pixels(self) -> bool:
        """Windows are the pixels of x, one after another: the convolution is one matrix product."""
        plain = self.taps == 1 and self.divisors == (1,) * AXES and all(s == 1 for s in self.strides)
        inside = not any(self.may_leave(a) for a in range(AXES)) and all(b == 0 for b in self.before)
        return plain and inside and self.size == self.out and _dense(self.x_strides, self.size)

    @property
    def writes_pixels(self) -> bool:
        """Outputs of one channel lie one after another at one distance."""
        return self.scatter == (1,) * AXES and _dense(self.y_strides, self.out)


def _dense(strides: Sequence[Dim], size: Sequence[Dim]) -> bool:
    """Pixels follow each other with one stride, through columns, rows, depths and images."""
    image, _, *spatial = strides
    step = spatial[-1]
    return image == step * product(size) and all(
        size[a] == 1 or spatial[a] == step * product(size[a + 1 :]) for a in range(AXES)
    )


def known(size: Dim) -> int:
    """A size that is a number where this is asked."""
    assert isinstance(size, int), f"{size} is not known when the engine is built"
    return size


def spread(kind: TensorType) -> tuple[Dim, ...]:
    """Strides of an [N, C, spatial…] tensor along (image, channel, depth, row, column)."""
    image, channel, *spatial = kind.strides()
    return (image, channel, *(0,) * (AXES - len(spatial)), *spatial)


def leading(values: Sequence[T], first: T) -> tuple[T, ...]:
    """`values` with `first` in front, until there is one for each axis."""
    return (first,) * (AXES - len(values)) + tuple(values)


def conv_shape(work: Workload) -> ConvShape:
    """The shape of a conv workload, or of a conv_transpose as a gather over its outputs.

    Raises:
        NoTactic: another op, more than three spatial axes, or a number of channels that varies.
    """
    op = work.anchor
    if not isinstance(op, (Conv, ConvTranspose)):
        raise NoTactic(f"{op} is not a convolution")
    x, w, y = input_type(work, 0), input_type(work, 1), work.outputs[0]
    axes = x.rank - 2
    if axes > AXES:
        raise NoTactic(f"kernels for {axes} spatial axes do not exist; 1, 2 and 3 do")
    if not isinstance(x.shape[1], int):
        raise NoTactic(f"the number of channels of {x} is not known when the engine is built")
    kernel = tuple(known(k) for k in w.shape[2:])
    strides = leading(per_axis(op.strides, axes, "strides"), 1)
    dilations = leading(per_axis(op.dilations, axes, "dilations"), 1)
    plain: dict[str, Any] = {
        "batch": x.shape[0], "groups": op.groups, "channels": x.shape[1] // op.groups,
        "size": leading(x.shape[2:], 1), "out": leading(y.shape[2:], 1), "kernel": leading(kernel, 1),
        "x_strides": spread(x), "y_strides": spread(y),
    }  # fmt: skip
    if isinstance(op, ConvTranspose):
        pads = per_axis(op.pads, 2 * axes, "pads", 0)[:axes]
        return ConvShape(
            **plain, outputs=known(w.shape[1]), strides=(1,) * AXES, steps=tuple(-d for d in dilations),
            before=leading(tuple(-p for p in pads), 0), divisors=strides,
        )  # fmt: skip
    placed = place_all(op, x.shape[2:], kernel)
    return ConvShape(
        **plain, outputs=known(w.shape[0]) // op.groups, strides=strides, steps=dilations,
        before=leading([p.pad_before for p in placed], 0),
    )  # fmt: skip


def tiles_of(count: Dim, size: int) -> Dim:
    """How many tiles of `size` cover `count`."""
    return ceil_div(count, size)
