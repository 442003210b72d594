"""cum_sum: running sums or products, one line or one vector of neighbouring lines a task."""

from __future__ import annotations

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.codegen.llvm.vector import Vector, compute_kind, register_kind, storage_kind
from engineworks.core.dims import ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image, lines_of
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.cum_sum import CumSum


class CpuCumSum(NativeKernels):
    """cum_sum along any axis; sums of narrow floats are kept in f32."""

    name = "cpu.cumsum"
    op = "cum_sum"
    cycles_an_element = 4.0

    def refuse(self, work: Workload) -> None:
        if input_type(work, 0).dtype.kind not in ("float", "int", "uint"):
            raise NoTactic("only numbers add up")

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        op = work.anchor
        assert isinstance(op, CumSum)
        x = input_type(work, 0)
        outer, length, inner = lines_of(x.shape, op.axis % x.rank)
        scan = _Scan(work, op, 1 if inner == 1 else isa.lanes, isa)
        parts = ceil_div(inner, scan.lanes)
        scan.emit(scan.k.size(length), scan.k.size(inner), scan.k.size(parts))
        return image([scan.k.step("cumsum", outer * parts)], [scan.k])


class _Scan:
    """Emission state; `lanes` lines that lie side by side run together."""

    def __init__(self, work: Workload, op: CumSum, lanes: int, isa: Isa) -> None:
        self.k = KernelBuilder(isa)
        self.op, self.lanes, self.dtype = op, lanes, input_type(work, 0).dtype
        self.x, self.y = self.k.input(0), self.k.output(0)
        self.blank = Vector(self.k.f, isa, compute_kind(self.dtype), lanes, "")

    def emit(self, length: Size, inner: Size, parts: Size) -> None:
        f = self.k.f
        total = f.variable(self.blank.type)
        neutral = self.blank.splat(0 if self.op.combine == "sum" else 1)
        with f.loop("%lo", "%hi") as task:
            column = f.mul(f.urem(task, parts), self.lanes)
            base = f.add(f.mul(f.mul(f.udiv(task, parts), length), inner), column)
            mask = None if self.lanes == 1 else iota_below(f, self.lanes, f.sub(inner, column))
            f.set(self.blank.type, total, neutral.name)
            with f.loop(0, length) as i:
                step = f.sub(f.sub(length, 1), i) if self.op.reverse else i
                at = f.add(base, f.mul(step, inner))
                before = self.blank.of(f.get(self.blank.type, total))
                x = self._load(at, mask)
                after = before + x if self.op.combine == "sum" else before * x
                f.set(self.blank.type, total, after.name)
                self._store(before if self.op.exclusive else after, at, mask)

    def _load(self, at: Size, mask: str | None) -> Vector:
        pointer = self.k.f.at(self.x, at, storage_kind(self.dtype))
        if self.lanes == 1:
            register = self.k.load(storage_kind(self.dtype), pointer)
        else:
            register = load_vector(self.k.f, self.lanes, self.dtype, pointer, mask)
        return casts.decode(self.dtype, self.blank.of(register, register_kind(self.dtype)))

    def _store(self, value: Vector, at: Size, mask: str | None) -> None:
        rounded = casts.encode(self.dtype, casts.round_to(self.dtype, value))
        register = (rounded.bits("bfloat") if self.dtype.name == "bf16" else rounded).name
        pointer = self.k.f.at(self.y, at, storage_kind(self.dtype))
        if self.lanes == 1:
            self.k.store(storage_kind(self.dtype), register, pointer)
        else:
            store_vector(self.k.f, self.lanes, self.dtype, pointer, register, mask)


PROVIDERS = (CpuCumSum(),)
