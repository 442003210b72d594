"""range with limits known at run time: the count goes to its symbol, then the numbers are written."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.vector import storage_kind
from engineworks.core.dims import bounds
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.range import Range


class CpuRange(NativeKernels):
    """range of f32, f64 and integers, on one thread."""

    name = "cpu.range"
    op = "range"
    cycles_an_element = 1.0

    def refuse(self, work: Workload) -> None:
        dtype = input_type(work, 0).dtype
        if dtype.kind not in ("int", "uint") and dtype.name not in ("f32", "f64"):
            raise NoTactic(f"no range of {dtype}; make one of f32 and cast it")

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        op = work.anchor
        assert isinstance(op, Range)
        k = KernelBuilder(isa)
        dtype = input_type(work, 0).dtype
        pointers = [k.input(index) for index in range(3)]
        target, slot = k.output(0), k.symbol(op.count)
        (_floats if dtype.is_float else _integers)(k, dtype, pointers, target, slot, bounds(op.count)[1])
        return image([k.step("range", 1, single=True)], [k], writes=[op.count])


def _counted(k: KernelBuilder, count: Size, slot: str, most: int | None) -> Size:
    """The count stored, and what to write: nothing, and -1, where memory was set aside for fewer."""
    f = k.f
    if most is not None:
        fits = f.compare("sle", count, most)
        count = f.value(f"select i1 {fits}, i64 {count}, i64 -1")
    k.store("i64", count, slot)
    return count


def _floats(
    k: KernelBuilder, dtype: DType, pointers: list[str], target: str, slot: str, most: int | None
) -> None:
    """In f64, rounded once."""
    f = k.f
    start, limit, delta = (k.load(storage_kind(dtype), p) for p in pointers)
    if dtype.name == "f32":
        start, limit, delta = (f.value(f"fpext float {v} to double") for v in (start, limit, delta))
    ratio = f.value(f"fdiv double {f.value(f'fsub double {limit}, {start}')}, {delta}")
    whole = f.call("double", "llvm.ceil.f64", f"double {ratio}")
    huge = f.value(f"fcmp uge double {whole}, 1.0e+15")
    near = f.value(f"select i1 {huge}, double 1.0e+15, double {whole}")
    low = f.value(f"fcmp ogt double {near}, 0.0")
    count = _counted(
        k,
        f.value(f"fptosi double {f.value(f'select i1 {low}, double {near}, double 0.0')} to i64"),
        slot,
        most,
    )
    with f.loop(0, count) as i:
        steps = f.value(f"sitofp i64 {i} to double")
        value = f.value(f"fadd double {start}, {f.value(f'fmul double {steps}, {delta}')}")
        if dtype.name == "f32":
            value = f.value(f"fptrunc double {value} to float")
        k.store(storage_kind(dtype), value, target, i)


def _integers(
    k: KernelBuilder, dtype: DType, pointers: list[str], target: str, slot: str, most: int | None
) -> None:
    """ceil((limit - start) / delta) with a divisor made positive; a delta of 0 counts as 1, for it must not trap."""
    f = k.f
    start, limit, given = (k.index(dtype, p, 0) for p in pointers)
    is_zero, falls = f.compare("eq", given, 0), f.compare("slt", given, 0)
    delta = f.value(f"select i1 {is_zero}, i64 1, i64 {given}")
    size = f.value(f"select i1 {falls}, i64 {f.sub(0, delta)}, i64 {delta}")
    up, down = f.sub(limit, start), f.sub(start, limit)
    span = f.smax(f.value(f"select i1 {falls}, i64 {down}, i64 {up}"), 0)
    count = _counted(k, f.ceil_div(span, size), slot, most)
    kind = storage_kind(dtype)
    with f.loop(0, count) as i:
        value = f.add(start, f.mul(i, delta))
        narrow = value if kind == "i64" else f.value(f"trunc i64 {value} to {kind}")
        k.store(kind, str(narrow), target, i)


PROVIDERS = (CpuRange(),)
