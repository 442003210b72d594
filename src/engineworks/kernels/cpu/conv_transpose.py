"""Transposed convolution as one direct convolution for each phase of the stride.

Outputs whose index has the same remainder modulo the stride use the same taps, and their inputs lie side by side: with
the taps reversed this is an ordinary convolution of stride 1 that writes every stride-th output.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product as every

import numpy as np

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import Dim, ceil_div, dim_max
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import Geometry, dense_strides, known, pixel_strides, require_f32
from engineworks.kernels.cpu.conv_cost import direct_seconds
from engineworks.kernels.cpu.conv_direct import DirectConfig, configs_of, direct_step
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.conv_filters import pack_filters
from engineworks.kernels.cpu.conv_problem import ConvProblem
from engineworks.kernels.cpu.conv_stage import stage_input
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.tactic import Effort, Input, KernelImage, Tactic, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._windows import per_axis
from engineworks.ops.conv_transpose import ConvTranspose


@dataclass(frozen=True, slots=True)
class AxisPhase:
    """One remainder of the output index along one axis.

    Attributes:
        first: the first such output; `count`: how many there are.
        taps: kernel positions in the order in which their inputs follow each other; empty: none reaches an input.
        dilation: inputs between neighbouring taps.
        before: how far the first tap of output `first` lies before input 0; may be negative.
    """

    first: int
    count: Dim
    taps: tuple[int, ...]
    dilation: int
    before: Dim


@dataclass(frozen=True, slots=True)
class Phase:
    """A convolution over some of the outputs, and which taps of the filters it uses on each axis."""

    geometry: Geometry
    taps: tuple[tuple[int, ...], ...]


class CpuConvTranspose:
    """Transposed convolutions of f32 with constant filters: any stride, dilation, padding and groups."""

    name = "cpu.conv_transpose"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Tiles for the largest phase, by predicted time.

        Raises:
            NoTactic: not such an op, filters computed at run time, or an output without innermost channels.
        """
        phases = phases_of(work)
        require_f32(work)
        finish_of(work)
        largest = max(phases, key=lambda p: p.geometry.depth).geometry
        seen = []
        for config in configs_of(largest, isa):
            seconds = sum(
                direct_seconds(p.geometry, isa, config.height, config.width, config.vectors) for p in phases
            )
            seen.append(Tactic(self.name, config, seconds))
        seen.sort(key=lambda t: t.predicted_s)
        return seen[: (1, 2, 3, 6, 10, 32)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """[copy x], then one step a phase."""
        config: DirectConfig = tactic.config
        phases, end, parts = phases_of(work), finish_of(work), ImageParts()
        source: Word = Input(0)
        if _needs_copy(work, phases):
            phases, target = _over_copy(phases)
            source = stage_input(parts, input_type(work, 0), replace(target, size=_sizes(work)), target, isa)
        for phase in phases:
            width, groups = config.vectors * isa.lanes, phase.geometry.groups

            def pack(
                values: Mapping[int, np.ndarray],
                phase: Phase = phase,
                width: int = width,
                groups: int = groups,
            ) -> np.ndarray:
                return pack_filters(phase_filters(np.asarray(values[1]), phase.taps, groups), groups, width)

            problem = ConvProblem(work, phase.geometry, end, source, parts.pack(pack))
            direct_step(parts, problem, config, isa)
        return parts.image()


def phase_filters(w: np.ndarray, taps: tuple[tuple[int, ...], ...], groups: int) -> np.ndarray:
    """[C, O/groups, kernel…] to the [O, C/groups, taps…] of an ordinary convolution; no taps become one zero."""
    channels, outputs = w.shape[:2]
    spatial = taps[3 - (w.ndim - 2) :]
    if any(not t for t in taps):
        return np.zeros((outputs * groups, channels // groups, *(max(1, len(t)) for t in spatial)), w.dtype)
    chosen = w[(slice(None), slice(None), *np.ix_(*spatial))]
    split = chosen.reshape(groups, channels // groups, outputs, *chosen.shape[2:])
    return split.swapaxes(1, 2).reshape(groups * outputs, channels // groups, *chosen.shape[2:])


def axis_phases(size: Dim, out: Dim, kernel: int, stride: int, dilation: int, pad: int) -> list[AxisPhase]:
    """The phases of one axis: output o uses input (o + pad - tap * dilation) / stride where that is whole."""
    shared = math.gcd(dilation, stride)
    phases = []
    for first in range(stride):
        if isinstance(out, int) and first >= out:
            continue
        taps = [k for k in range(kernel) if (first + pad - k * dilation) % stride == 0]
        taps.reverse()  # the last tap reads the first input
        before: Dim = -((first + pad - taps[0] * dilation) // stride) if taps else size + out
        phases.append(
            AxisPhase(first, ceil_div(out - first, stride), tuple(taps), dilation // shared, before)
        )
    return phases


def _sizes(work: Workload) -> tuple[Dim, ...]:
    shape = input_type(work, 0).shape[2:]
    return (1,) * (3 - len(shape)) + shape  # type: ignore[return-value]


def phases_of(work: Workload) -> list[Phase]:
    """Every phase of a conv_transpose workload, none of them empty.

    Raises:
        NoTactic: see `CpuConvTranspose.propose`.
    """
    op = work.anchor
    if not isinstance(op, ConvTranspose):
        raise NoTactic(f"{op} is not a transposed convolution")
    x, w, y = input_type(work, 0), input_type(work, 1), work.outputs[0]
    axes = x.rank - 2
    y_strides = pixel_strides(y)
    if axes > 3 or y_strides is None:
        raise NoTactic(
            f"this family serves up to three spatial axes and outputs with innermost channels, not {y}"
        )
    if not work.inputs[1] or not work.inputs[1].constant:
        raise NoTactic("the filters must be known when the engine is built")
    missing = 3 - axes
    sizes, out = _sizes(work), (1,) * missing + y.shape[2:]
    kernel = (1,) * missing + tuple(known(k) for k in w.shape[2:])
    strides = (1,) * missing + per_axis(op.strides, axes, "strides")
    dilations = (1,) * missing + per_axis(op.dilations, axes, "dilations")
    pads = (0,) * missing + per_axis(op.pads, 2 * axes, "pads", 0)[:axes]
    channels = known(x.shape[1])
    x_strides = pixel_strides(x) or dense_strides(sizes, channels)
    phases = []
    for each in every(
        *(axis_phases(sizes[a], out[a], kernel[a], strides[a], dilations[a], pads[a]) for a in range(3))
    ):
        first = sum((p.first * s for p, s in zip(each, y_strides[1:], strict=True)), 0)
        count = tuple(p.count for p in each)
        g = Geometry(
            batch=x.shape[0], groups=op.groups, channels=channels, outputs=known(w.shape[1]) * op.groups, size=sizes,
            out=count,  # type: ignore[arg-type]
            kernel=tuple(max(1, len(p.taps)) for p in each),  # type: ignore[arg-type]
            strides=(1, 1, 1), dilations=tuple(p.dilation for p in each),  # type: ignore[arg-type]
            before=tuple(p.before for p in each),  # type: ignore[arg-type]
            after=tuple(_after(p, sizes[a]) for a, p in enumerate(each)),  # type: ignore[arg-type]
            x_strides=x_strides,
            y_strides=(y_strides[0], *(s * strides[a] for a, s in enumerate(y_strides[1:]))),  # type: ignore[arg-type]
            y_first=first,
        )  # fmt: skip
        phases.append(Phase(g, tuple(p.taps for p in each)))
    if not phases:
        raise NoTactic("the output has no elements")
    if not all(p.geometry.is_static or all(p.taps) for p in phases):
        raise NoTactic("outputs that no tap reaches need sizes that are known when the engine is built")
    return phases


def _after(phase: AxisPhase, size: Dim) -> Dim:
    """How far the last window reaches beyond the input; may be negative."""
    return phase.count + (max(1, len(phase.taps)) - 1) * phase.dilation - phase.before - size


def _needs_copy(work: Workload, phases: list[Phase]) -> bool:
    if pixel_strides(input_type(work, 0)) is None:
        return True
    return any(not p.geometry.is_static and (_reaches_out(p.geometry)) for p in phases)


def _reaches_out(g: Geometry) -> bool:
    """Some window may leave the input."""
    return any(not (isinstance(d, int) and d <= 0) for d in (*g.before, *g.after))


def _over_copy(phases: list[Phase]) -> tuple[list[Phase], Geometry]:
    """The phases over one copy of x with the padding that the neediest of them wants, and that copy's geometry."""
    reaching = [p for p in phases if all(p.taps)]
    before = tuple(dim_max(0, *(p.geometry.before[a] for p in reaching)) for a in range(3))
    after = tuple(dim_max(0, *(p.geometry.after[a] for p in reaching)) for a in range(3))
    g = phases[0].geometry
    size = tuple(before[a] + g.size[a] + after[a] for a in range(3))
    strides = dense_strides(size, g.channels)
    out = []
    for phase in phases:
        own = phase.geometry
        if not all(phase.taps):  # its windows stay outside of the input, wherever that lies
            out.append(replace(phase, geometry=replace(own, size=size, x_strides=strides)))
            continue
        shift = [before[a] - own.before[a] for a in range(3)]
        first = sum((shift[a] * strides[1 + a] for a in range(3)), 0)
        moved = replace(own, size=size, before=(0, 0, 0), after=(0, 0, 0), x_strides=strides, x_first=first)  # type: ignore[arg-type]
        out.append(Phase(moved, phase.taps))
    return out, replace(g, size=size, before=before, after=after, x_strides=strides)  # type: ignore[arg-type]


PROVIDERS = (CpuConvTranspose(),)
