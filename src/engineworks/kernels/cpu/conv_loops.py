"""Convolutions as plain loop nests: the floor under the fast families, for every dtype and layout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.loops_choice import schedules_of
from engineworks.codegen.llvm.loops_nest import nest_of
from engineworks.codegen.schedule import CpuSchedule, likely
from engineworks.core import dtypes
from engineworks.core.dims import Dim, product
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.ir.kernel import LoopKernel, Reduce, Store
from engineworks.ir.scalar import (
    Scalar,
    apply,
    argument,
    axis,
    cast,
    const,
    load,
    size,
    stage,
    substitute,
    where,
)
from engineworks.kernels.cpu.conv import known
from engineworks.kernels.cpu.conv_cost import CYCLES_PER_SECOND
from engineworks.kernels.cpu.loops import loop_image
from engineworks.kernels.tactic import Effort, Input, KernelImage, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops._product_types import product_dtype, sum_dtype
from engineworks.ops._windows import per_axis, place_all
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose

Index = tuple[Scalar, ...]
CYCLES_PER_MULTIPLY = 4.0


@dataclass(frozen=True, slots=True)
class LoopsConfig:
    """The schedule of the nest."""

    schedule: CpuSchedule


class CpuConvLoops:
    """conv and conv_transpose of any dtypes, any layout, any number of axes, any sizes; slow."""

    name = "cpu.conv_loops"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """The loop emitter's schedules, with a pessimistic prediction.

        Raises:
            NoTactic: neither a conv nor a conv_transpose.
        """
        kernel = conv_nest(work)
        points = product([likely(d) for d in (*kernel.parallel, *kernel.reduced)])
        seconds = float(points) * CYCLES_PER_MULTIPLY / CYCLES_PER_SECOND  # type: ignore[arg-type]
        schedules = list(schedules_of(nest_of(kernel), isa))[: max(1, effort - 1)]
        return [Tactic(self.name, LoopsConfig(s), seconds * (1 + 0.1 * k)) for k, s in enumerate(schedules)]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """One loop nest."""
        return loops_image("conv_loops", work, conv_nest(work), tactic.config.schedule, isa)


def loops_image(
    prefix: str, work: Workload, kernel: LoopKernel, schedule: CpuSchedule, isa: Isa
) -> KernelImage:
    """The image of a nest whose operands are the workload's inputs that are not omitted, in order."""
    digest = hashlib.sha256(f"{kernel}\n{schedule}\n{isa.name}".encode()).hexdigest()[:16]
    image = loop_image(kernel, schedule, isa, f"{prefix}_{digest}")
    given = [k for k, operand in enumerate(work.inputs) if operand is not None]
    steps = tuple(
        replace(
            s, words=tuple(Input(given[w.index], w.offset) if isinstance(w, Input) else w for w in s.words)
        )
        for s in image.steps
    )
    return replace(image, steps=steps)


def conv_nest(work: Workload) -> LoopKernel:
    """The loop nest of a conv or conv_transpose with its bias and epilogue.

    Raises:
        NoTactic: another op.
    """
    op = work.anchor
    if not isinstance(op, (Conv, ConvTranspose)):
        raise NoTactic(f"{op} is neither a conv nor a conv_transpose")
    types = [o.type for o in work.inputs if o is not None]
    x, w, y = types[0], types[1], work.outputs[0]
    spatial = x.rank - 2
    kernel = tuple(known(k) for k in w.shape[2:])
    groups = op.groups
    outputs = known(w.shape[0]) // groups if isinstance(op, Conv) else known(w.shape[1])
    inputs = known(w.shape[1]) if isinstance(op, Conv) else known(w.shape[0]) // groups
    image, group, output = axis(0), axis(1), axis(2)
    places = [axis(3 + a) for a in range(spatial)]
    channel, taps = axis(3 + spatial), [axis(4 + spatial + a) for a in range(spatial)]
    sources, inside = _sources(op, x, kernel, places, taps)
    to, from_ = group * outputs + output, group * inputs + channel
    filter_index = (to, channel, *taps) if isinstance(op, Conv) else (from_, output, *taps)
    result = product_dtype(x.dtype, w.dtype, op.out_dtype)
    wide = sum_dtype(x.dtype, w.dtype, result)
    element = cast(load(0, (image, from_, *sources), x.dtype), wide)
    body = element * cast(load(1, filter_index, w.dtype), wide)
    body = guarded(inside, body, const(0, wide))
    total = stage(0, wide)
    if work.anchor_inputs > 2 and work.inputs[2] is not None:
        total = total + cast(load(2, (to,), result), wide)
    total = cast(total, result)
    index = (image, to, *places)
    store = Store(0, index, finished(work, total, index), over_reduced=False)
    return LoopKernel(
        (x.shape[0], groups, outputs, *y.shape[2:]),
        (inputs, *kernel),
        tuple(types),
        (y,),
        (Reduce("sum", body, wide), store),
    )


def _sources(
    op: Conv | ConvTranspose,
    x: TensorType,
    kernel: Sequence[int],
    places: Sequence[Scalar],
    taps: Sequence[Scalar],
) -> tuple[list[Scalar], list[Scalar]]:
    """For each spatial axis the input index under an output and a tap; and the conditions under which all exist."""
    axes = len(kernel)
    strides, dilations = per_axis(op.strides, axes, "strides"), per_axis(op.dilations, axes, "dilations")
    if isinstance(op, Conv):
        before: Sequence[Dim] = [p.pad_before for p in place_all(op, x.shape[2:], kernel)]
        sources = [places[a] * strides[a] + taps[a] * dilations[a] - size(before[a]) for a in range(axes)]
        return sources, in_range(sources, x.shape[2:])
    pads = per_axis(op.pads, 2 * axes, "pads", 0)
    scattered = [places[a] + pads[a] - taps[a] * dilations[a] for a in range(axes)]
    sources = [s // strides[a] for a, s in enumerate(scattered)]
    whole = [
        apply("eq", s % strides[a], const(0, dtypes.i64)) for a, s in enumerate(scattered) if strides[a] > 1
    ]
    return sources, whole + in_range(sources, x.shape[2:])


def in_range(index: Sequence[Scalar], sizes: Sequence[Dim]) -> list[Scalar]:
    """0 <= index < size on each axis."""
    zero = const(0, dtypes.i64)
    return [
        c for i, d in zip(index, sizes, strict=True) for c in (apply("le", zero, i), apply("lt", i, size(d)))
    ]


def guarded(conditions: Sequence[Scalar], value: Scalar, otherwise: Scalar) -> Scalar:
    """`value` where all conditions hold."""
    every = conditions[0]
    for condition in conditions[1:]:
        every = apply("and", every, condition)
    return where(every, value, otherwise)


def finished(work: Workload, total: Scalar, index: Index) -> Scalar:
    """The epilogue on `total` for the output element at `index`."""
    out = work.outputs[0]
    if work.epilogue is None:
        return cast(total, out.dtype)
    given = [k for k, operand in enumerate(work.inputs) if operand is not None]
    replaced: dict[Scalar, Scalar] = {argument(0, total.dtype): total}
    for number, kind in enumerate(work.epilogue.kinds):
        operand = work.inputs[work.anchor_inputs + number]
        assert operand is not None, f"epilogue operand {number} is missing"
        place = _operand_index(operand.type, kind, index)
        read = load(given.index(work.anchor_inputs + number), place, operand.type.dtype)
        replaced[argument(1 + number, operand.type.dtype)] = read
    return substitute(work.epilogue.expression, replaced.get)


def _operand_index(kind_of: TensorType, kind: str, index: Index) -> Index:
    """Where an epilogue operand's element for output `index` is."""
    zero = const(0, dtypes.i64)
    if kind == "full":
        return index
    return tuple(zero if d == 1 else index[1] for d in kind_of.shape)


PROVIDERS = (CpuConvLoops(),)
