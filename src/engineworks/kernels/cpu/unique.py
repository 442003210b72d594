"""unique: slices are sorted column by column, equal neighbours become one, and the count goes to its symbol."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.core.dims import Dim
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image, lines_of
from engineworks.kernels.cpu.sorting import Sorter, as_i64, ordered_key, sort_bytes
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.unique import Unique


class CpuUnique(NativeKernels):
    """unique along any axis, on one thread."""

    name = "cpu.unique"
    op = "unique"
    cycles_an_element = 40.0

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(work.anchor, Unique)
        return _Slices(work, work.anchor, isa).image()


class _Slices:
    """Emission state. A slice has `outer * inner` elements (columns); there are `length` slices.

    Workspace 0 is the sorter's; 1 holds the groups' first places, sizes and ranks, and the group of each slice.
    """

    def __init__(self, work: Workload, op: Unique, isa: Isa) -> None:
        x = input_type(work, 0)
        self.op, self.dtype = op, x.dtype
        self.k = k = KernelBuilder(isa)
        outer, length, inner = lines_of(x.shape, op.axis % x.rank)
        self.room: tuple[Dim, Dim] = (sort_bytes(length), length * 32)
        self.x, self.chosen = k.input(0), k.output(0)
        self.first_out, self.inverse_out, self.counts_out = (k.output(n) for n in (1, 2, 3))
        self.memory, self.groups = k.workspace(0), k.workspace(1)
        self.slot = k.symbol(op.count)
        self.outer, self.length, self.inner = k.size(outer), k.size(length), k.size(inner)
        self.columns = k.f.mul(self.outer, self.inner)

    def image(self) -> KernelImage:
        k, f = self.k, self.k.f
        first, sizes, ranks, group_of = (f.at(self.groups, f.mul(self.length, 8 * part)) for part in range(4))
        sorter = Sorter(k, self.memory, self.length)
        self._sort_slices(sorter)
        count = self._group(sorter.sorted_payloads(), first, sizes, group_of)
        k.store("i64", count, self.slot)
        self._rank(sorter, count, first, ranks)
        self._write(count, first, sizes, ranks, group_of)
        return image([k.step("unique", 1, single=True)], [k], workspace=self.room, writes=[self.op.count])

    def _offset(self, slice_: Size, column: Size, length: Size) -> Size:
        """Element `column` of a slice in a tensor with `length` slices."""
        f = self.k.f
        row = f.add(f.mul(f.udiv(column, self.inner), length), slice_)
        return f.add(f.mul(row, self.inner), f.urem(column, self.inner))

    def _key(self, slice_: Size, column: Size) -> str:
        raw = self.k.raw(self.dtype, self.x, self._offset(slice_, column, self.length))
        return as_i64(self.k, self.dtype, ordered_key(self.k, self.dtype, raw))

    def _sort_slices(self, sorter: Sorter) -> None:
        """Stable sorts by each column, the last one first, order the slices by all of them."""
        k, f = self.k, self.k.f
        with f.loop(0, self.length) as i:
            k.store("i64", i, sorter.payloads, i)
        # One sort even where slices are empty: it settles where the sorted places are.
        with f.loop(0, f.smax(self.columns, 1)) as step:
            column = f.sub(f.sub(self.columns, 1), step)
            with f.loop(0, self.length) as i:
                has_columns = f.compare("sge", column, 0)
                k.store("i64", 0, sorter.keys, i)
                with f.when(has_columns):
                    k.store("i64", self._key(k.load("i64", sorter.payloads, i), column), sorter.keys, i)
            sorter.sort(self.length, self.dtype.size_bytes * 8)
            places = sorter.sorted_payloads()
            moved = f.value(f"icmp ne ptr {places}, {sorter.payloads}")
            last = f.compare("eq", f.add(step, 1), f.smax(self.columns, 1))
            with (
                f.when(f.value(f"and i1 {moved}, {f.value(f'xor i1 {last}, true')}")),
                f.loop(0, self.length) as i,
            ):
                k.store("i64", k.load("i64", places, i), sorter.payloads, i)

    def _group(self, places: str, first: str, sizes: str, group_of: str) -> str:
        """Number the runs of equal slices; the sort is stable, so a run starts with its first place."""
        k, f = self.k, self.k.f
        groups, before = f.variable("i64", 0), f.variable("i64", 0)
        differs = f.variable("i1", "true")
        with f.loop(0, self.length) as i:
            here = k.load("i64", places, i)
            f.set("i1", differs, f.compare("eq", i, 0))
            with f.when(f.compare("sgt", i, 0)), f.loop(0, self.columns) as column:
                other = f.compare("ne", self._key(here, column), self._key(f.get("i64", before), column))
                f.set("i1", differs, f.value(f"or i1 {f.get('i1', differs)}, {other}"))
            f.set("i64", before, here)
            with f.when(f.get("i1", differs)):
                new = f.get("i64", groups)
                k.store("i64", here, first, new)
                k.store("i64", 0, sizes, new)
                f.set("i64", groups, f.add(new, 1))
            group = f.add(f.get("i64", groups), -1)
            k.store("i64", f.add(k.load("i64", sizes, group), 1), sizes, group)
            k.store("i64", group, group_of, here)
        return f.get("i64", groups)

    def _rank(self, sorter: Sorter, count: str, first: str, ranks: str) -> None:
        """ranks[group]: its place in the output."""
        k, f = self.k, self.k.f
        if self.op.is_sorted:
            with f.loop(0, count) as group:
                k.store("i64", group, ranks, group)
            return
        with f.loop(0, count) as group:
            k.store("i64", k.load("i64", first, group), sorter.keys, group)
            k.store("i64", group, sorter.payloads, group)
        sorter.sort(count, 64)
        order = sorter.sorted_payloads()
        with f.loop(0, count) as place:
            k.store("i64", place, ranks, k.load("i64", order, place))

    def _write(self, count: str, first: str, sizes: str, ranks: str, group_of: str) -> None:
        k, f = self.k, self.k.f
        with f.loop(0, count) as group:
            place, source = k.load("i64", ranks, group), k.load("i64", first, group)
            k.store("i64", source, self.first_out, place)
            k.store("i64", k.load("i64", sizes, group), self.counts_out, place)
            with f.loop(0, self.columns) as column:
                raw = k.raw(self.dtype, self.x, self._offset(source, column, self.length))
                k.store_raw(self.dtype, raw, self.chosen, self._offset(place, column, count))
        with f.loop(0, self.length) as i:
            k.store("i64", k.load("i64", ranks, k.load("i64", group_of, i)), self.inverse_out, i)


PROVIDERS = (CpuUnique(),)
