"""non_zero: elements are counted in vectors, the count goes to its symbol, then the indices are written."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.loads import iota_below
from engineworks.core.dims import product
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.non_zero import NonZero


class CpuNonZero(NativeKernels):
    """non_zero of any dtype, on one thread: where an index goes depends on all before it."""

    name = "cpu.nonzero"
    op = "non_zero"
    cycles_an_element = 1.0

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(work.anchor, NonZero)
        x = input_type(work, 0)
        k = KernelBuilder(isa)
        f = k.f
        source, target, slot = k.input(0), k.output(0), k.symbol(work.anchor.count)
        total, shape = k.size(product(x.shape)), k.sizes(x.shape)
        found = _Found(k, source, x.dtype.size_bytes * 8, x.dtype.is_float, total)
        count = f.variable("i64", 0)
        with f.loop(0, total, isa.lanes) as first:
            more = found.mask(first)
            f.set("i64", count, f.add(f.get("i64", count), f.call("i64", "llvm.ctpop.i64", f"i64 {more}")))
        counted = f.get("i64", count)
        k.store("i64", counted, slot)
        _write(k, found, target, counted, shape, total)
        step = k.step("nonzero", 1, single=True)
        return image([step], [k], writes=[work.anchor.count])


class _Found:
    """Which of the next lanes' elements are not zero."""

    def __init__(self, k: KernelBuilder, source: str, bits: int, is_float: bool, total: Size) -> None:
        self.k, self.source, self.bits, self.is_float, self.total = k, source, bits, is_float, total

    def mask(self, first: str) -> str:
        """i64: bit j says that element first + j exists and is not zero. -0 is zero."""
        f, lanes, kind = self.k.f, self.k.isa.lanes, f"i{self.bits}"
        vector = f"<{lanes} x {kind}>"
        pointer = f.at(self.source, first, kind)
        inside = iota_below(f, lanes, f.sub(self.total, first))
        value = f.call(vector, f"llvm.masked.load.v{lanes}{kind}.p0", f"ptr align {self.bits // 8} {pointer}",
                       f"<{lanes} x i1> {inside}", f"{vector} zeroinitializer")  # fmt: skip
        if self.is_float:
            value = f.value(f"shl {vector} {value}, splat ({kind} 1)")
        found = f.value(f"icmp ne {vector} {value}, zeroinitializer")
        packed = f.value(f"bitcast <{lanes} x i1> {found} to i{lanes}")
        return f.value(f"zext i{lanes} {packed} to i64")


def _write(k: KernelBuilder, found: _Found, target: str, count: Size, shape: list[Size], total: Size) -> None:
    """Indices of each axis lie `count` apart; the lowest set bit of a mask is the next element."""
    f = k.f
    place, mask = f.variable("i64", 0), f.variable("i64")
    with f.loop(0, total, k.isa.lanes) as first:
        f.set("i64", mask, found.mask(first))
        with k.repeat_while() as loop:
            left = f.get("i64", mask)
            loop.leave_unless(f.compare("ne", left, 0))
            rest: Size = f.add(first, f.call("i64", "llvm.cttz.i64", f"i64 {left}", "i1 true"))
            at = f.get("i64", place)
            for axis in reversed(range(len(shape))):
                index = rest if axis == 0 else f.urem(rest, shape[axis])
                k.store("i64", index, target, f.add(f.mul(count, axis), at))
                rest = f.udiv(rest, shape[axis]) if axis else rest
            f.set("i64", place, f.add(at, 1))
            f.set("i64", mask, f.value(f"and i64 {left}, {f.add(left, -1)}"))


PROVIDERS = (CpuNonZero(),)
