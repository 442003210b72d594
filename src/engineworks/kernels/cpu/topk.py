"""top_k: a line is scanned in vectors for elements that beat the k-th best so far.

Few best ones are kept as a sorted list. Many are collected, and sorted and cut back to k whenever the room is full:
about log(n / k) times on data in random order.
"""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.loads import iota_below, splat
from engineworks.core.dims import Dim, dim_min
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.native import KernelBuilder, LineMemory, NativeKernels, image, lines_of
from engineworks.kernels.cpu.sorting import Sorter, as_i64, ordered_key, sort_bytes
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.top_k import TopK

MOST_KEPT = 64
"""Largest k for which a sorted list of the best so far beats sorting."""
ROOM = 4
"""Times k that are collected between sorts."""


class CpuTopK(NativeKernels):
    """top_k along any axis of a row-major tensor."""

    name = "cpu.topk"
    version = 2
    op = "top_k"
    cycles_an_element = 2.0

    def refuse(self, work: Workload) -> None:
        if input_type(work, 0).dtype.kind not in ("float", "int", "uint"):
            raise NoTactic("only numbers have an order")

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        op = work.anchor
        assert isinstance(op, TopK)
        keeps = isinstance(op.k, int) and op.k <= MOST_KEPT
        return (_KeepBest if keeps else _Collect)(work, op, isa).image()


class _Lines:
    """Emission state: one task a line. Subclasses find the positions of the best."""

    def __init__(self, work: Workload, op: TopK, isa: Isa) -> None:
        x = input_type(work, 0)
        self.k = k = KernelBuilder(isa)
        self.op, self.dtype = op, x.dtype
        self.bits, self.lanes = x.dtype.size_bytes * 8, isa.lanes
        outer, length, inner = lines_of(x.shape, op.axis % x.rank)
        self.is_contiguous = inner == 1
        self.lines: Dim = outer * inner
        self.memory = LineMemory(self.line_bytes(length), self.lines)
        self.x, self.values, self.indices = k.input(0), k.output(0), k.output(1)
        self.length, self.inner, self.count = k.size(length), k.size(inner), k.size(op.k)
        self.room = k.size(self.capacity(length))
        self.base, self.apart = self.memory.pointers(k)

    def capacity(self, length: Dim) -> Dim:
        """Elements held at a time."""
        raise NotImplementedError

    def line_bytes(self, length: Dim) -> Dim:
        """Temporary memory of a line."""
        raise NotImplementedError

    def best(self, source: Size, memory: str) -> str:
        """Address of the k positions, best first."""
        raise NotImplementedError

    def image(self) -> KernelImage:
        f = self.k.f
        with f.loop("%lo", "%hi") as task:
            outer, rest = f.udiv(task, self.inner), f.urem(task, self.inner)
            source = f.add(f.mul(f.mul(outer, self.length), self.inner), rest)
            target = f.add(f.mul(f.mul(outer, self.count), self.inner), rest)
            chosen = self.best(source, f.at(self.base, f.mul(task, self.apart)))
            self._write(chosen, source, target)
        step = self.k.step("topk", self.lines)
        return image(
            [step], [self.k], workspace=self.memory.workspace, scratch_bytes=self.memory.scratch_bytes
        )

    def _at(self, source: Size, i: Size) -> Size:
        return self.k.f.add(source, self.k.f.mul(i, self.inner))

    def key(self, source: Size, i: Size) -> str:
        """i64 key of element i of the line."""
        raw = self.k.raw(self.dtype, self.x, self._at(source, i))
        return as_i64(self.k, self.dtype, ordered_key(self.k, self.dtype, raw, descending=self.op.largest))

    def keys(self, source: Size, first: Size) -> tuple[str, str]:
        """<lanes x integer> keys of the elements from `first` on, and <lanes x i1> which of them exist."""
        f, vector = self.k.f, f"<{self.lanes} x i{self.bits}>"
        inside = iota_below(f, self.lanes, f.sub(self.length, first))
        pointer = f.at(self.x, f.add(source, first), f"i{self.bits}")
        raw = f.call(vector, f"llvm.masked.load.v{self.lanes}i{self.bits}.p0", f"ptr align {self.bits // 8} {pointer}",
                     f"<{self.lanes} x i1> {inside}", f"{vector} zeroinitializer")  # fmt: skip
        return ordered_key(self.k, self.dtype, raw, descending=self.op.largest, lanes=self.lanes), inside

    def below(self, keys: str, limit: str) -> str:
        """<lanes x i1>: key < limit, an i64 that fits the keys' width."""
        f, vector = self.k.f, f"<{self.lanes} x i{self.bits}>"
        narrow = limit if self.bits == 64 else f.value(f"trunc i64 {limit} to i{self.bits}")
        return f.value(f"icmp ult {vector} {keys}, {splat(f, self.lanes, f'i{self.bits}', narrow)}")

    def _write(self, chosen: str, source: Size, target: Size) -> None:
        k = self.k
        with k.f.loop(0, self.count) as j:
            position = k.load("i64", chosen, j)
            raw = k.raw(self.dtype, self.x, self._at(source, position))
            k.store_raw(self.dtype, raw, self.values, self._at(target, j))
            k.store("i64", position, self.indices, self._at(target, j))


class _KeepBest(_Lines):
    """The k best so far, in order. Equal keys never push out an earlier one, which settles ties."""

    def capacity(self, length: Dim) -> Dim:
        return self.op.k

    def line_bytes(self, length: Dim) -> Dim:
        return self.op.k * 16

    def best(self, source: Size, memory: str) -> str:
        f, most = self.k.f, int(self.count)
        if most == 0:
            return memory
        keys, places = memory, f.at(memory, 8 * most)
        with f.loop(0, most) as i:
            self._insert(keys, places, self.key(source, i), i, i)
        if not self.is_contiguous:
            with f.loop(most, self.length) as i:
                self._offer(keys, places, self.key(source, i), i)
            return places
        mask = f.variable("i64")
        with f.loop(most, self.length, self.lanes) as first:
            found, inside = self.keys(source, first)
            better = self.below(found, self.k.load("i64", keys, most - 1))
            both = f.value(f"and <{self.lanes} x i1> {better}, {inside}")
            packed = f.value(f"bitcast <{self.lanes} x i1> {both} to i{self.lanes}")
            f.set("i64", mask, f.value(f"zext i{self.lanes} {packed} to i64"))
            with self.k.repeat_while() as loop:
                left = f.get("i64", mask)
                loop.leave_unless(f.compare("ne", left, 0))
                i = f.add(first, f.call("i64", "llvm.cttz.i64", f"i64 {left}", "i1 true"))
                self._offer(keys, places, self.key(source, i), i)
                f.set("i64", mask, f.value(f"and i64 {left}, {f.add(left, -1)}"))
        return places

    def _offer(self, keys: str, places: str, key: str, i: Size) -> None:
        f, last = self.k.f, int(self.count) - 1
        with f.when(f.compare("ult", key, self.k.load("i64", keys, last))):
            self._insert(keys, places, key, i, last)

    def _insert(self, keys: str, places: str, key: str, i: Size, last: Size) -> None:
        """Before the first larger key; what was at `last` falls off."""
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


class _Collect(_Lines):
    """Elements better than the k-th best of the last sort are appended; the sort is stable, which settles ties."""

    def capacity(self, length: Dim) -> Dim:
        if self.is_contiguous:
            return dim_min(length, self.op.k * ROOM) + self.lanes
        return length

    def line_bytes(self, length: Dim) -> Dim:
        return sort_bytes(self.capacity(length))

    def best(self, source: Size, memory: str) -> str:
        f = self.k.f
        sorter = Sorter(self.k, memory, self.room)
        if not self.is_contiguous:
            with f.loop(0, self.length) as i:
                self.k.store("i64", self.key(source, i), sorter.keys, i)
                self.k.store("i64", i, sorter.payloads, i)
            sorter.sort(self.length, self.bits)
            return sorter.sorted_payloads()
        held, limit, is_open = f.variable("i64"), f.variable("i64"), f.variable("i1")
        f.set("i64", held, 0)
        f.set("i64", limit, 0)
        f.set("i1", is_open, "true")
        with f.loop(0, self.length, self.lanes) as first:
            full = f.compare("sgt", f.add(f.get("i64", held), self.lanes), self.room)
            with f.when(full):
                self._cut(sorter, held, limit)
                f.set("i1", is_open, "false")
            self._append(sorter, source, first, held, f.get("i64", limit), f.get("i1", is_open))
        sorter.sort(f.get("i64", held), self.bits)
        return sorter.sorted_payloads()

    def _append(self, sorter: Sorter, source: Size, first: str, held: str, limit: str, is_open: str) -> None:
        f, lanes = self.k.f, self.lanes
        keys, inside = self.keys(source, first)
        better = f.value(f"or <{lanes} x i1> {self.below(keys, limit)}, {splat(f, lanes, 'i1', is_open)}")
        wanted = f.value(f"and <{lanes} x i1> {better}, {inside}")
        packed = f.value(f"bitcast <{lanes} x i1> {wanted} to i{lanes}")
        with f.when(f.value(f"icmp ne i{lanes} {packed}, 0")):
            wide = (
                keys
                if self.bits == 64
                else f.value(f"zext <{lanes} x i{self.bits}> {keys} to <{lanes} x i64>")
            )
            steps = "<" + ", ".join(f"i64 {lane}" for lane in range(lanes)) + ">"
            places = f.value(f"add <{lanes} x i64> {splat(f, lanes, 'i64', first)}, {steps}")
            count = f.get("i64", held)
            for value, target in ((wide, sorter.keys), (places, sorter.payloads)):
                f.call("void", f"llvm.masked.compressstore.v{lanes}i64", f"<{lanes} x i64> {value}",
                       f"ptr {f.at(target, count, 'i64')}", f"<{lanes} x i1> {wanted}")  # fmt: skip
            more = f.value(
                f"zext i{lanes} {f.call(f'i{lanes}', f'llvm.ctpop.i{lanes}', f'i{lanes} {packed}')} to i64"
            )
            f.set("i64", held, f.add(count, more))

    def _cut(self, sorter: Sorter, held: str, limit: str) -> None:
        """Sort what was collected, keep the k best, and let in only what is better than the last of them."""
        k, f = self.k, self.k.f
        sorter.sort(f.get("i64", held), self.bits)
        keys, places = sorter.sorted_keys(), sorter.sorted_payloads()
        with f.loop(0, self.count) as i:
            k.store("i64", k.load("i64", keys, i), sorter.keys, i)
            k.store("i64", k.load("i64", places, i), sorter.payloads, i)
        f.set("i64", held, self.count)
        f.set("i64", limit, k.load("i64", sorter.keys, f.sub(self.count, 1)))


PROVIDERS = (CpuTopK(),)
