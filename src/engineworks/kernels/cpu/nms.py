"""non_max_suppression: each class of each image on its own, then all kept boxes in order."""

from __future__ import annotations

from collections.abc import Sequence

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.loads import iota_below, splat
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.kernels.cpu.native import KernelBuilder, LineMemory, NativeKernels, image
from engineworks.kernels.cpu.sorting import Sorter, as_i64, ordered_key, sort_bytes
from engineworks.kernels.tactic import KernelImage, Step, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.non_max_suppression import NonMaxSuppression

FIELDS = 5
"""Of a kept box: low and high corner, area."""


class CpuNonMaxSuppression(NativeKernels):
    """non_max_suppression of f32 boxes."""

    name = "cpu.nms"
    op = "non_max_suppression"
    cycles_an_element = 60.0

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        op = work.anchor
        assert isinstance(op, NonMaxSuppression)
        batch, classes, _ = input_type(work, 1).shape
        chosen = _Chosen(work, op, isa)
        first = chosen.step()
        gathered = KernelBuilder(isa)
        second = _gather(gathered, op, batch, classes)
        room = (batch * classes * op.limit * 8, batch * classes * 8)
        memory = chosen.memory
        return image([first, second], [chosen.k, gathered], workspace=(*room, *memory.workspace),
                     scratch_bytes=memory.scratch_bytes, writes=[op.count])  # fmt: skip


class _Chosen:
    """First step: one task for each class of each image; kept boxes and their number go to workspace 0 and 1."""

    def __init__(self, work: Workload, op: NonMaxSuppression, isa: Isa) -> None:
        self.k = k = KernelBuilder(isa)
        self.op, self.lanes = op, isa.lanes
        batch, classes, count = input_type(work, 1).shape
        self.tasks: Dim = batch * classes
        padded = (op.limit + isa.lanes) * 4
        self.memory = LineMemory(sort_bytes(count) + padded * FIELDS, self.tasks)
        self.boxes, self.scores = k.input(0), k.input(1)
        f = k.f
        self.most = k.index(input_type(work, 2).dtype, k.input(2), 0)
        self.overlap = k.load("float", k.input(3))
        has_least = len(work.inputs) > 4 and work.inputs[4] is not None
        self.least = k.load("float", k.input(4)) if has_least else None
        self.kept, self.counts = k.workspace(0), k.workspace(1)
        self.count, self.classes, self.limit = k.size(count), k.size(classes), k.size(op.limit)
        self.list_bytes = k.size(padded)
        if self.memory.scratch_bytes:
            self.base, self.apart = "%scratch", 0
        else:
            self.base, self.apart = k.workspace(2), k.size(self.memory.bytes_a_line)
        self.most = f.smin(self.most, self.limit)

    def step(self) -> tuple[Step, dict[str, str]]:
        k, f = self.k, self.k.f
        with f.loop("%lo", "%hi") as task:
            memory = f.at(self.base, f.mul(task, self.apart))
            sorter = Sorter(k, memory, self.count)
            end = f.at(memory, f.add(f.mul(self.count, 32), k.size(sort_bytes(0))))
            fields = [f.at(end, f.mul(self.list_bytes, part)) for part in range(FIELDS)]
            candidates = self._candidates(task, sorter)
            sorter.sort(candidates, 32)
            order = sorter.sorted_payloads()
            boxes = f.at(self.boxes, f.mul(f.mul(f.udiv(task, self.classes), self.count), 16))
            self._select(task, boxes, order, candidates, fields)
        return k.step("nms", self.tasks)

    def _candidates(self, task: str, sorter: Sorter) -> str:
        """Boxes whose score is high enough go to the sorter; how many there are."""
        k, f = self.k, self.k.f
        found = f.variable("i64", 0)
        f.set("i64", found, 0)
        scores = f.at(self.scores, f.mul(task, self.count), "float")
        with f.loop(0, self.count) as box:
            score = k.load("float", scores, box)
            wanted = "true" if self.least is None else f.value(f"fcmp ogt float {score}, {self.least}")
            with f.when(wanted):
                raw = f.value(f"bitcast float {score} to i32")
                key = as_i64(k, dtypes.f32, ordered_key(k, dtypes.f32, raw, descending=True))
                at = f.get("i64", found)
                k.store("i64", key, sorter.keys, at)
                k.store("i64", box, sorter.payloads, at)
                f.set("i64", found, f.add(at, 1))
        return f.get("i64", found)

    def _select(self, task: str, boxes: str, order: str, candidates: Size, fields: Sequence[str]) -> None:
        k, f = self.k, self.k.f
        held, next_ = f.variable("i64"), f.variable("i64")
        f.set("i64", held, 0)
        f.set("i64", next_, 0)
        room = f.at(self.kept, f.mul(task, self.limit), "i64")
        with k.repeat_while() as loop:
            position, count = f.get("i64", next_), f.get("i64", held)
            loop.leave_unless(f.compare("slt", position, candidates))
            loop.leave_unless(f.compare("slt", count, self.most))
            box = k.load("i64", order, position)
            values = self._box(boxes, box)
            f.set("i64", next_, f.add(position, 1))
            with f.when(f.value(f"xor i1 {self._overlaps(values, fields, count)}, true")):
                for field, value in zip(fields, values, strict=True):
                    k.store("float", value, field, count)
                k.store("i64", box, room, count)
                f.set("i64", held, f.add(count, 1))
        k.store("i64", f.get("i64", held), self.counts, task)

    def _box(self, boxes: str, box: str) -> list[str]:
        """Low corner, high corner, area of a box."""
        k, f = self.k, self.k.f
        a, b, c, d = (k.load("float", boxes, f.add(f.mul(box, 4), part)) for part in range(4))
        if self.op.centre:
            half = [f.value(f"fmul float {v}, 5.0e-1") for v in (c, d)]
            low = [f.value(f"fsub float {v}, {h}") for v, h in zip((a, b), half, strict=True)]
            high = [f.value(f"fadd float {v}, {h}") for v, h in zip((a, b), half, strict=True)]
        else:
            low = [
                f.call("float", "llvm.minnum.f32", f"float {v}", f"float {w}") for v, w in ((a, c), (b, d))
            ]
            high = [
                f.call("float", "llvm.maxnum.f32", f"float {v}", f"float {w}") for v, w in ((a, c), (b, d))
            ]
        sides = [f.value(f"fsub float {h}, {v}") for v, h in zip(low, high, strict=True)]
        return [*low, *high, f.value(f"fmul float {sides[0]}, {sides[1]}")]

    def _overlaps(self, box: Sequence[str], fields: Sequence[str], count: Size) -> str:
        """An i1: the box's overlap with one of the kept ones is too large. Vectors of kept boxes at a time."""
        f, lanes = self.k.f, self.lanes
        vector = f"<{lanes} x float>"
        own = [splat(f, lanes, "float", v) for v in box]
        highest = splat(f, lanes, "float", self.overlap)
        hit, place = f.variable("i1"), f.variable("i64")
        f.set("i1", hit, "false")
        f.set("i64", place, 0)
        with self.k.repeat_while() as loop:
            first = f.get("i64", place)
            loop.leave_unless(f.compare("slt", first, count))
            others = [
                f.value(f"load {vector}, ptr {f.at(field, first, 'float')}, align 4") for field in fields
            ]
            too_much = self._exceeds(own, others, highest)
            inside = f.value(f"and <{lanes} x i1> {too_much}, {iota_below(f, lanes, f.sub(count, first))}")
            packed = f.value(f"bitcast <{lanes} x i1> {inside} to i{lanes}")
            f.set("i1", hit, f.value(f"icmp ne i{lanes} {packed}, 0"))
            f.set("i64", place, f.add(first, lanes))
            loop.leave_unless(f.value(f"xor i1 {f.get('i1', hit)}, true"))
        return f.get("i1", hit)

    def _exceeds(self, a: Sequence[str], b: Sequence[str], highest: str) -> str:
        """<lanes x i1>: intersection / union > highest, where both areas and the intersection are positive."""
        f, lanes = self.k.f, self.lanes
        vector, suffix = f"<{lanes} x float>", f"v{lanes}f32"

        def both(name: str, left: str, right: str) -> str:
            return f.call(vector, f"llvm.{name}.{suffix}", f"{vector} {left}", f"{vector} {right}")

        def positive(value: str) -> str:
            return f.value(f"fcmp ogt {vector} {value}, zeroinitializer")

        low = [both("maxnum", a[d], b[d]) for d in (0, 1)]
        high = [both("minnum", a[2 + d], b[2 + d]) for d in (0, 1)]
        sides = [f.value(f"fsub {vector} {high[d]}, {low[d]}") for d in (0, 1)]
        shared = f.value(f"fmul {vector} {sides[0]}, {sides[1]}")
        union = f.value(f"fsub {vector} {f.value(f'fadd {vector} {a[4]}, {b[4]}')}, {shared}")
        ratio = f.value(f"fdiv {vector} {shared}, {union}")
        found = f.value(f"fcmp ogt {vector} {ratio}, {highest}")
        for value in (*sides, shared, a[4], b[4], union):
            found = f.value(f"and <{lanes} x i1> {found}, {positive(value)}")
        return found


def _gather(k: KernelBuilder, op: NonMaxSuppression, batch: Dim, classes: Dim) -> tuple[Step, dict[str, str]]:
    """Second step: rows (image, class, box) one after another, and their number."""
    f = k.f
    kept, counts, target, slot = k.workspace(0), k.workspace(1), k.output(0), k.symbol(op.count)
    kinds, limit, tasks = k.size(classes), k.size(op.limit), k.size(batch * classes)
    total = f.variable("i64", 0)
    with f.loop(0, tasks) as task, f.loop(0, k.load("i64", counts, task)) as j:
        row = f.get("i64", total)
        values = (f.udiv(task, kinds), f.urem(task, kinds), k.load("i64", kept, f.add(f.mul(task, limit), j)))
        for column, value in enumerate(values):
            k.store("i64", value, target, f.add(f.mul(row, 3), column))
        f.set("i64", total, f.add(row, 1))
    k.store("i64", f.get("i64", total), slot)
    return k.step("nms_rows", 1, single=True)


PROVIDERS = (CpuNonMaxSuppression(),)
