"""Images of implicit matmuls: packed filters, one kernel for each phase, and a second one where k is split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from engineworks.codegen.triton.function import KernelFunction
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.conv_boxes import conv_by_boxes
from engineworks.kernels.cuda.conv_cost import widened
from engineworks.kernels.cuda.conv_filters import FilterLayout, byte_shifts, pack_filters, pack_step
from engineworks.kernels.cuda.conv_implicit import ConvConfig, ImplicitMatmul, implicit_matmul
from engineworks.kernels.cuda.conv_parts import add_parts
from engineworks.kernels.cuda.conv_shape import ConvShape, known
from engineworks.kernels.tactic import KernelImage, Packed, PackedConstant, Step, Word, Workspace
from engineworks.kernels.workload import Workload, input_type

FiltersOf = Callable[[np.ndarray], np.ndarray]
"""A workload's filters -> those of an ordinary convolution, [groups * outputs, channels, taps…]."""


@dataclass(slots=True)
class ImageParts:
    """An image while it is put together."""

    functions: dict[str, KernelFunction] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    packed: list[PackedConstant] = field(default_factory=list)
    workspace: list[Dim] = field(default_factory=list)

    def add(self, made: tuple[KernelFunction, Step]) -> None:
        """A kernel and its launch."""
        function, step = made
        self.functions[function.name] = function
        self.steps.append(step)

    def pack(self, pack: Callable[[Mapping[int, np.ndarray]], np.ndarray]) -> Packed:
        """The address of data made at build."""
        self.packed.append(PackedConstant(pack))
        return Packed(len(self.packed) - 1)

    def room(self, size_bytes: Dim) -> Workspace:
        """The address of a temporary buffer."""
        self.workspace.append(size_bytes)
        return Workspace(len(self.workspace) - 1)

    def image(self) -> KernelImage:
        """All of it."""
        return KernelImage(
            self.functions, frozenset(), tuple(self.steps), tuple(self.packed), tuple(self.workspace)
        )


def product_operands(work: Workload) -> tuple[DType, bool]:
    """The dtype of the operands of a convolution's products, and whether f32 may be rounded to tf32.

    Raises:
        NoTactic: matrix units do not take these.
    """
    x, w = input_type(work, 0).dtype, input_type(work, 1).dtype
    names = {x.name, w.name}
    tf32 = bool(getattr(work.anchor, "allow_tf32", False))
    if names <= {"i8", "u8"}:
        return dtypes.i8, False
    if x is w and x.name in ("f16", "bf16"):
        return x, False
    if names <= {"f32", "f16", "bf16"}:
        return dtypes.f32, tf32
    raise NoTactic(f"matrix units do not multiply {x} by {w} here")


def layout_of(shape: ConvShape, config: ConvConfig, merged: int) -> FilterLayout:
    """How the filters of a shape (with merged groups) are packed for a tile."""
    outputs = -(-shape.outputs // config.outputs) * config.outputs
    channels = -(-shape.channels // config.depth) * config.depth
    by_tap = config.form in ("taps", "boxes")
    flat = -(-shape.channels * shape.taps // config.depth) * config.depth
    order = "taps, channels" if by_tap or shape.x_strides[1] == 1 else "channels, taps"
    return FilterLayout(merged, by_tap, order, outputs, channels * shape.taps if by_tap else flat, channels)


def _widening(shape: ConvShape, filters_of: FiltersOf) -> FiltersOf:
    """Filters for `widened(shape)`."""
    first = known(shape.before[2]) % 2
    last = widened(shape).kernel[2] - shape.kernel[2] - first

    def filters(w: np.ndarray) -> np.ndarray:
        plain = filters_of(w)
        return np.pad(plain, [(0, 0)] * (plain.ndim - 1) + [(first, last)])

    return filters


def add_implicit(
    parts: ImageParts,
    work: Workload,
    shape: ConvShape,
    config: ConvConfig,
    merged: int,
    filters_of: FiltersOf,
) -> None:
    """The launches of one implicit matmul.

    Args:
        shape: with groups as they are computed. merged: groups of the filters in one of those.
    """
    dtype, tf32 = product_operands(work)
    x, w = input_type(work, 0).dtype, input_type(work, 1)
    if config.form == "rows":
        shape, filters_of = widened(shape), _widening(shape, filters_of)
    layout, groups = layout_of(shape, config, merged), shape.groups * merged
    operand = work.inputs[1]
    shifts: Word | None = None
    if operand is not None and operand.constant:
        filters: Word = parts.pack(
            lambda values: pack_filters(filters_of(np.asarray(values[1])), groups, layout, dtype)
        )
        if "u8" in (x.name, w.dtype.name):
            shifts = parts.pack(
                lambda values: byte_shifts(filters_of(np.asarray(values[1])), groups, layout, x)
            )
    else:
        room = parts.room(shape.groups * layout.outputs * layout.depth * dtype.size_bytes)
        parts.add(pack_step(shape, w, layout, dtype, room))
        filters = room
    partial = None
    if config.split > 1:
        partial = parts.room(shape.pixels * (shape.outputs * shape.groups * config.split * 4))
    problem = ImplicitMatmul(work, shape, config, layout, filters, shifts, dtype, tf32, partial)
    parts.add(conv_by_boxes(problem) if config.form == "boxes" else implicit_matmul(problem))
    if partial is not None:
        parts.add(add_parts(problem, partial))
