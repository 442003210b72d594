"""top_k: lines keep their k best while they are read, or are sorted when k is large."""
from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.core.dims import Dim
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.native import KernelBuilder, LineMemory, NativeKernels, image, input_type, lines_of
from engineworks.kernels.cpu.sorting import Sorter, as_i64, ordered_key, sort_bytes
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops.top_k import TopK

MOST_KEPT = 64
"""Largest k for which a sorted list of the best so far beats sorting the line."""


class CpuTopK(NativeKernels):
    """top_k along any axis of a row-major tensor."""

    name = "cpu.topk"
    op = "top_k"
    cycles_an_element = 6.0

    def refuse(self, work: Workload) -> None:
        if input_type(work, 0).dtype.kind not in ("float", "int", "uint"):
            raise NoTactic("only numbers have an order")

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(work.anchor, TopK)
        return _Lines(work, work.anchor, isa).image()


class _Lines:
    """Emission state: one task a line."""

    def __init__(self, work: Workload, op: TopK, isa: Isa) -> None:
        x = input_type(work, 0)
        self.k = k = KernelBuilder(isa)
        self.op, self.dtype = op, x.dtype
        axis = op.axis % x.rank
        outer, length, inner = lines_of(x.shape, axis)
        self.lines: Dim = outer * inner
        self.keeps = isinstance(op.k, int) and op.k <= MOST_KEPT
        kept = op.k * 16 if self.keeps else sort_bytes(length)
        self.memory = LineMemory(kept, self.lines)
        self.x, self.values, self.indices = k.input(0), k.output(0), k.output(1)
        self.length, self.inner, self.count = k.size(length), k.size(inner), k.size(op.k)
        self.base, self.apart = self.memory.pointers(k)

    def image(self) -> KernelImage:
        f = self.k.f
        with f.loop("%lo", "%hi") as task:
            outer, rest = f.udiv(task, self.inner), f.urem(task, self.inner)
            source = f.add(f.mul(f.mul(outer, self.length), self.inner), rest)
            target = f.add(f.mul(f.mul(outer, self.count), self.inner), rest)
            memory = f.at(self.base, f.mul(task, self.apart))
            chosen = self._keep_best(source, memory) if self.keeps else self._sort(source, memory)
            self._write(chosen, source, target)
        step = self.k.step("topk", self.lines)
        return image([step], [self.k], workspace=self.memory.workspace, scratch_bytes=self.memory.scratch_bytes)

    def _at(self, source: Size, i: Size) -> Size:
        return self.k.f.add(source, self.k.f.mul(i, self.inner))

    def _key(self, source: Size, i: Size) -> str:
        raw = self.k.raw(self.dtype, self.x, self._at(source, i))
        return as_i64(self.k, self.dtype, ordered_key(self.k, self.dtype, raw, descending=self.op.largest))

    def _sort(self, source: Size, memory: str) -> str:
        """Positions of all elements, best first."""
        sorter = Sorter(self.k, memory, self.length)
        with self.k.f.loop(0, self.length) as i:
            self.k.store("i64", self._key(source, i), sorter.keys, i)
            self.k.store("i64", i, sorter.payloads, i)
        sorter.sort(self.length, self.dtype.size_bytes * 8)
        return sorter.sorted_payloads()

    def _keep_best(self, source: Size, memory: str) -> str:
        """Positions of the k best, best first. Equal keys never push out an earlier one, which settles ties."""
        k, f, most = self.k, self.k.f, int(self.count)
        if most == 0:
            return memory
        keys, places = memory, f.at(memory, 8 * most)
        held, worst = f.variable("i64", 0), f.variable("i64", -1)
        with f.loop(0, self.length) as i:
            key, count = self._key(source, i), f.get("i64", held)
            room = f.compare("slt", count, most)
            better = f.compare("ult", key, f.get("i64", worst))
            with f.when(f.value(f"or i1 {room}, {better}")):
                self._place(keys, places, key, i, f.smin(count, most - 1))
                f.set("i64", held, f.smin(f.add(count, 1), most))
                f.set("i64", worst, k.load("i64", keys, f.smin(count, most - 1)))
        return places

    def _place(self, keys: str, places: str, key: str, i: str, last: Size) -> None:
        """Insert before the first larger key; what was at `last` may fall off."""
        k, f = self.k, self.k.f
        place = f.variable("i64")
        f.set("i64", place, last)
        with k.repeat_while() as loop:
            at = f.get("i64", place)
            loop.leave_unless(f.compare("sgt", at, 0))
            before = f.add(at, -1)
            other = k.load("i64", keys, before)
            loop.leave_unless(f.compare("ugt", other, key))
            k.store("i64", other, keys, at)
            k.store("i64", k.load("i64", places, before), places, at)
            f.set("i64", place, before)
        at = f.get("i64", place)
        k.store("i64", key, keys, at)
        k.store("i64", i, places, at)

    def _write(self, chosen: str, source: Size, target: Size) -> None:
        k = self.k
        with k.f.loop(0, self.count) as j:
            position = k.load("i64", chosen, j)
            raw = k.raw(self.dtype, self.x, self._at(source, position))
            k.store_raw(self.dtype, raw, self.values, self._at(target, j))
            k.store("i64", position, self.indices, self._at(target, j))


PROVIDERS = (CpuTopK(),)
