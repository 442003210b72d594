"""Poolings as plain loop nests: every dtype, layout and attribute, and the positions of maxima."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.loops_choice import schedules_of
from engineworks.codegen.llvm.loops_nest import nest_of
from engineworks.codegen.schedule import likely
from engineworks.core import dtypes
from engineworks.core.dims import Dim, product
from engineworks.core.dtypes import DType
from engineworks.core.shapes import Window
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.ir.kernel import LoopKernel, MonoidName, Reduce, Store
from engineworks.ir.scalar import Scalar, apply, axis, cast, const, load, size, stage
from engineworks.kernels.cpu.conv_cost import CYCLES_PER_SECOND
from engineworks.kernels.cpu.conv_loops import (
    CYCLES_PER_MULTIPLY,
    LoopsConfig,
    finished,
    guarded,
    in_range,
    loops_image,
)
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops._windows import per_axis, place_all
from engineworks.ops.average_pool import AveragePool
from engineworks.ops.lp_pool import LpPool
from engineworks.ops.max_pool import MaxPool

Pool = MaxPool | AveragePool | LpPool


class CpuPoolLoops:
    """max_pool (with positions), average_pool and lp_pool of any dtype, layout and size."""

    name = "cpu.pool_loops"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """The loop emitter's schedules, with a pessimistic prediction.

        Raises:
            NoTactic: not a pooling.
        """
        kernel = pool_nest(work)
        points = product([likely(d) for d in (*kernel.parallel, *kernel.reduced)])
        seconds = float(points) * CYCLES_PER_MULTIPLY / CYCLES_PER_SECOND  # type: ignore[arg-type]
        schedules = list(schedules_of(nest_of(kernel), isa))[: max(1, effort - 1)]
        return [Tactic(self.name, LoopsConfig(s), seconds * (1 + 0.1 * k)) for k, s in enumerate(schedules)]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """One loop nest."""
        return loops_image("pool_loops", work, pool_nest(work), tactic.config.schedule, isa)


def pool_of(work: Workload) -> tuple[Pool, TensorType, tuple[Window, ...]]:
    """The pooling op, its input, and where its windows lie.

    Raises:
        NoTactic: another op.
    """
    op = work.anchor
    if not isinstance(op, (MaxPool, AveragePool, LpPool)):
        raise NoTactic(f"{op} is not a pooling")
    operand = work.inputs[0]
    assert operand is not None, "a pooling has an input"
    return op, operand.type, place_all(op, operand.type.shape[2:], op.kernel, ceil_mode=op.ceil_mode)


def pool_nest(work: Workload) -> LoopKernel:
    """The loop nest of a pooling.

    Raises:
        NoTactic: another op.
    """
    op, x, windows = pool_of(work)
    axes = len(op.kernel)
    parallel = work.outputs[0].shape
    index = tuple(axis(k) for k in range(2 + axes))
    flat = isinstance(op, MaxPool) and op.indices
    reduced: tuple[Dim, ...] = (_count(op.kernel),) if flat else op.kernel
    taps = _unfolded(axis(2 + axes), op.kernel) if flat else [axis(2 + axes + a) for a in range(axes)]
    sources = _under(op, windows, index[2:], taps)
    inside = in_range(sources, x.shape[2:])
    element = load(0, (*index[:2], *sources), x.dtype)
    if isinstance(op, MaxPool):
        stages = _max_stages(
            op, x, windows, index, guarded(inside, element, const(_lowest(x.dtype), x.dtype))
        )
    elif isinstance(op, LpPool):
        powers = apply("pow", apply("abs", element), const(op.p, x.dtype)) if op.p != 2 else element * element
        total = stage(0, x.dtype)
        root = apply("sqrt", total) if op.p == 2 else apply("pow", total, const(1 / op.p, x.dtype))
        stages = [
            Reduce("sum", guarded(inside, powers, const(0, x.dtype)), x.dtype),
            Store(0, index, root, over_reduced=False),
        ]
    else:
        stages = _average_stages(op, x, windows, index, sources, guarded(inside, element, const(0, x.dtype)))
    if work.epilogue is not None:
        stages = [
            replace(s, body=finished(work, s.body, index)) if isinstance(s, Store) and s.output == 0 else s
            for s in stages
        ]
    types = tuple(o.type for o in work.inputs if o is not None)
    return LoopKernel(parallel, reduced, types, work.outputs, tuple(stages))


def _lowest(dtype: DType) -> float | int:
    if dtype.is_float:
        return float("-inf")
    return -(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0


def _count(kernel: Sequence[int]) -> int:
    count = 1
    for k in kernel:
        count *= k
    return count


def _unfolded(flat: Scalar, kernel: Sequence[int]) -> list[Scalar]:
    """The taps of a row-major position in the window."""
    out: list[Scalar] = []
    for k in reversed(kernel):
        out.insert(0, flat % k)
        flat = flat // k
    return out


def _under(
    op: Pool, windows: Sequence[Window], places: Sequence[Scalar], taps: Sequence[Scalar]
) -> list[Scalar]:
    """The input index under each output and tap."""
    axes = len(op.kernel)
    strides, dilations = per_axis(op.strides, axes, "strides"), per_axis(op.dilations, axes, "dilations")
    return [
        places[a] * strides[a] + taps[a] * dilations[a] - size(windows[a].pad_before) for a in range(axes)
    ]


def _max_stages(
    op: MaxPool, x: TensorType, windows: Sequence[Window], index: tuple[Scalar, ...], body: Scalar
) -> list[Reduce | Store]:
    largest: MonoidName = "max"
    stages: list[Reduce | Store] = [
        Reduce(largest, body, x.dtype),
        Store(0, index, stage(0, x.dtype), over_reduced=False),
    ]
    if not op.indices:
        return stages
    found = stage(2, dtypes.i64)
    sources = _under(op, windows, index[2:], _unfolded(found, op.kernel))
    sizes = x.shape[2:]
    position: Scalar = const(0, dtypes.i64)
    order = range(len(sizes)) if op.storage_order == 0 else reversed(range(len(sizes)))
    for a in order:
        position = position * size(sizes[a]) + sources[a]
    plane = index[0] * size(x.shape[1]) + index[1]
    count: Dim = product(sizes)
    where_found = plane * size(count) + position
    return [
        *stages,
        Reduce("argmax_first", body, dtypes.i64),
        Store(1, index, where_found, over_reduced=False),
    ]


def _average_stages(
    op: AveragePool,
    x: TensorType,
    windows: Sequence[Window],
    index: tuple[Scalar, ...],
    sources: Sequence[Scalar],
    body: Scalar,
) -> list[Reduce | Store]:
    """The sum, divided by the number of positions that count: elements of x, or of x with its padding."""
    if op.count_include_pad:
        lows = [source + size(w.pad_before) for source, w in zip(sources, windows, strict=True)]
        sizes = [d + w.pad_before + w.pad_after for d, w in zip(x.shape[2:], windows, strict=True)]
    else:
        lows, sizes = list(sources), list(x.shape[2:])
    one, none = const(1, dtypes.i64), const(0, dtypes.i64)
    counted = guarded(in_range(lows, sizes), one, none)
    total, number = stage(0, x.dtype), stage(1, dtypes.i64)
    mean = total / cast(number, x.dtype)
    return [
        Reduce("sum", body, x.dtype),
        Reduce("sum", counted, dtypes.i64),
        Store(0, index, mean, over_reduced=False),
    ]


PROVIDERS = (CpuPoolLoops(),)
