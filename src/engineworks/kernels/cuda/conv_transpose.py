"""Transposed convolutions through matrix units.

Outputs whose index has the same remainder modulo the stride use the same taps, and their inputs lie side by side: each
such phase is an ordinary convolution of stride 1 that writes every stride-th output. Where windows do not overlap, all
of it is one product, whose results are scattered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product as every

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.conv_transpose import axis_phases, phase_filters
from engineworks.kernels.cuda.conv import ranked
from engineworks.kernels.cuda.conv_image import FiltersOf, ImageParts, add_implicit, product_operands
from engineworks.kernels.cuda.conv_shape import AXES, ConvShape, conv_shape
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops.conv_transpose import ConvTranspose


@dataclass(frozen=True, slots=True)
class Phase:
    """An ordinary convolution that makes some of the outputs, and how its filters come from the workload's."""

    shape: ConvShape
    filters: FiltersOf


class CudaConvTranspose:
    """Transposed convolutions of f16, bf16, f32 and bytes with constant filters."""

    name = "cuda.conv_transpose"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """Tiles by predicted time of all phases.

        Raises:
            NoTactic: another op, dtypes without matrix units, or filters computed at run time.
        """
        if not isinstance(work.anchor, ConvTranspose):
            raise NoTactic(f"{work.anchor} is not a transposed convolution")
        product_operands(work)
        finish_of(work)
        return ranked(self.name, work, [p.shape for p in phases_of(work)], isa, effort)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """An implicit matmul for each phase."""
        parts = ImageParts()
        for phase in phases_of(work):
            add_implicit(parts, work, phase.shape, tactic.config, 1, phase.filters)
        return parts.image()


def phases_of(work: Workload) -> list[Phase]:
    """The convolutions that make a transposed one.

    Raises:
        NoTactic: filters computed at run time or of one channel, or sizes that vary where no tap reaches.
    """
    gather = conv_shape(work)
    operand = work.inputs[1]
    if operand is None or not operand.constant:
        raise NoTactic("the filters must be known when the engine is built")
    if gather.groups > 1 and gather.channels == 1:
        raise NoTactic("filters of one channel leave matrix units nothing to sum")
    dilations = tuple(-s for s in gather.steps)
    apart = (
        gather.kernel == gather.divisors and set(dilations) == {1} and not any(b != 0 for b in gather.before)
    )
    if apart and all(gather.out[a] == gather.size[a] * gather.kernel[a] for a in range(AXES)):
        return [_scattered(gather)]
    image, channel, *spatial = gather.y_strides
    phases = []
    axes = []
    for a in range(AXES):
        stride, pad = gather.divisors[a], -gather.before[a]
        assert isinstance(pad, int), "a transposed convolution's pads are numbers"
        axes.append(axis_phases(gather.size[a], gather.out[a], gather.kernel[a], stride, dilations[a], pad))
    for each in every(*axes):
        taps = tuple(p.taps for p in each)
        if not all(taps) and not all(isinstance(d, int) for d in (*gather.size, *gather.out)):
            raise NoTactic("outputs that no tap reaches need sizes that are known when the engine is built")
        shape = replace(
            gather, out=tuple(p.count for p in each), kernel=tuple(max(1, len(t)) for t in taps),
            strides=(1,) * AXES, steps=tuple(p.dilation for p in each), before=tuple(p.before for p in each),
            divisors=(1,) * AXES,
            y_strides=(image, channel, *(s * gather.divisors[a] for a, s in enumerate(spatial))),
            y_first=sum((p.first * s for p, s in zip(each, spatial, strict=True)), 0),
        )  # fmt: skip

        def filters(w: np.ndarray, taps: tuple[tuple[int, ...], ...] = taps) -> np.ndarray:
            return phase_filters(w, taps, gather.groups)

        phases.append(Phase(shape, filters))
    if not phases:
        raise NoTactic("the output has no elements")
    return phases


def _scattered(gather: ConvShape) -> Phase:
    """Windows that lie side by side: each pixel of x makes a window of its own."""
    image, channel, *spatial = gather.y_strides
    shape = replace(
        gather, outputs=gather.outputs * gather.taps, out=gather.size, kernel=(1,) * AXES, strides=(1,) * AXES,
        steps=(1,) * AXES, divisors=(1,) * AXES, scatter=gather.kernel,
        y_strides=(image, channel, *(s * gather.kernel[a] for a, s in enumerate(spatial))),
    )  # fmt: skip

    def filters(w: np.ndarray) -> np.ndarray:
        """[C, O/groups, kernel…] to [groups * taps * O/groups, C/groups, 1]."""
        split = w.reshape(gather.groups, gather.channels, gather.outputs, -1)
        return split.transpose(0, 3, 2, 1).reshape(-1, gather.channels, 1)

    return Phase(shape, filters)


PROVIDERS = (CudaConvTranspose(),)
