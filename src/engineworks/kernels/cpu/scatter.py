"""scatter_elements and scatter_nd: x is copied, then updates are written or combined, conflict-free across tasks."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.prims import emit
from engineworks.codegen.llvm.vector import storage_kind
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import apply, argument
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image
from engineworks.kernels.tactic import KernelImage, Step, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.scatter_elements import ScatterElements
from engineworks.ops.scatter_nd import ScatterND

COPY_BYTES = 1 << 15
"""Copied by one task."""
SLICE_ELEMENTS = 512
"""Of a slice, written by one task for all indices."""


class CpuScatterElements(NativeKernels):
    """scatter_elements: one task a line along the axis, so that updates of one place stay in order."""

    name = "cpu.scatter_elements"
    op = "scatter_elements"
    cycles_an_element = 3.0

    def refuse(self, work: Workload) -> None:
        assert isinstance(work.anchor, ScatterElements)
        _refuse_combining(work.anchor.combine, work.outputs[0].dtype)

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        op = work.anchor
        assert isinstance(op, ScatterElements)
        x, indices = input_type(work, 0), input_type(work, 1)
        axis = op.axis % x.rank
        copy, write = KernelBuilder(isa), KernelBuilder(isa)
        first = copy_step(copy, x)
        others = product(d for a, d in enumerate(indices.shape) if a != axis)
        _write_lines(write, x, indices, axis, op.combine)
        return image([first, write.step("scatter_lines", others)], [copy, write])


class CpuScatterND(NativeKernels):
    """scatter_nd: one task a part of the slices, which takes all indices in order."""

    name = "cpu.scatter_nd"
    op = "scatter_nd"
    cycles_an_element = 3.0

    def refuse(self, work: Workload) -> None:
        assert isinstance(work.anchor, ScatterND)
        _refuse_combining(work.anchor.combine, work.outputs[0].dtype)

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        op = work.anchor
        assert isinstance(op, ScatterND)
        x, indices = input_type(work, 0), input_type(work, 1)
        copy, write = KernelBuilder(isa), KernelBuilder(isa)
        first = copy_step(copy, x)
        tasks = _write_slices(write, x, indices, op.combine)
        return image([first, write.step("scatter_slices", tasks)], [copy, write])


def _refuse_combining(how: str, dtype: DType) -> None:
    if how != "none" and dtype.kind not in ("float", "int", "uint"):
        raise NoTactic(f"values of {dtype} cannot be combined by '{how}'")


def copy_step(k: KernelBuilder, x: TensorType) -> tuple[Step, dict[str, str]]:
    """Input 0 to output 0, byte for byte."""
    f = k.f
    source, target, size = k.input(0), k.output(0), k.size(x.size_bytes)
    with f.loop("%lo", "%hi") as task:
        first = f.mul(task, COPY_BYTES)
        count = f.smin(f.sub(size, first), COPY_BYTES)
        whole = f.mul(f.udiv(count, 64), 64)
        with f.loop(0, whole, 64) as at:
            place = f.add(first, at)
            value = f.value(f"load <64 x i8>, ptr {f.at(source, place)}, align 1")
            f.line(f"store <64 x i8> {value}, ptr {f.at(target, place)}, align 1")
        with f.loop(whole, count) as at:
            place = f.add(first, at)
            k.store("i8", k.load("i8", source, place), target, place)
    return k.step("copy", ceil_div(x.size_bytes, COPY_BYTES))


def _combine(k: KernelBuilder, dtype: DType, how: str, update: str, target: str, offset: Size) -> None:
    """target[offset] = update, or combined with it; `update` is in register form of `storage_kind`."""
    kind = storage_kind(dtype)
    if how != "none":
        held = k.load(kind, target, offset)
        expression = apply(how, argument(0, dtype), argument(1, dtype))
        values = (held, update)
        update = emit(k.f, k.isa, 1, expression, lambda leaf: values[leaf.payload])
    k.store(kind, update, target, offset)


def _write_lines(k: KernelBuilder, x: TensorType, indices: TensorType, axis: int, how: str) -> None:
    f = k.f
    places, updates, target = k.input(1), k.input(2), k.output(0)
    sizes, x_strides = k.sizes(indices.shape), k.sizes(x.strides())
    strides, extent = k.sizes(indices.strides()), k.size(x.shape[axis])
    with f.loop("%lo", "%hi") as task:
        rest: Size = task
        source: Size = 0
        base: Size = 0
        for a in reversed([a for a in range(x.rank) if a != axis]):
            at, rest = f.urem(rest, sizes[a]), f.udiv(rest, sizes[a])
            source = f.add(source, f.mul(at, strides[a]))
            base = f.add(base, f.mul(at, x_strides[a]))
        with f.loop(0, sizes[axis]) as j:
            here = f.add(source, f.mul(j, strides[axis]))
            place = k.wrapped(k.index(indices.dtype, places, here), extent)
            update = k.load(storage_kind(x.dtype), updates, here)
            _combine(k, x.dtype, how, update, target, f.add(base, f.mul(place, x_strides[axis])))


def _write_slices(k: KernelBuilder, x: TensorType, indices: TensorType, how: str) -> Dim:
    """Emits the kernel; returns the number of tasks."""
    f = k.f
    *outer, length = indices.shape
    assert isinstance(length, int), "inference made sure"
    inner = product(x.shape[length:])
    places, updates, target = k.input(1), k.input(2), k.output(0)
    count, size = k.size(product(outer)), k.size(inner)
    extents, strides = k.sizes(x.shape[:length]), k.sizes(x.strides()[:length])
    with f.loop("%lo", "%hi") as task:
        first = f.mul(task, SLICE_ELEMENTS)
        last = f.smin(f.add(first, SLICE_ELEMENTS), size)
        with f.loop(0, count) as j:
            base: Size = 0
            for a in range(length):
                index = k.wrapped(k.index(indices.dtype, places, f.add(f.mul(j, length), a)), extents[a])
                base = f.add(base, f.mul(index, strides[a]))
            with f.loop(first, last) as i:
                update = k.load(storage_kind(x.dtype), updates, f.add(f.mul(j, size), i))
                _combine(k, x.dtype, how, update, target, f.add(base, i))
    return ceil_div(inner, SLICE_ELEMENTS)


PROVIDERS = (CpuScatterElements(), CpuScatterND())
