"""roi_align: a task is a region and some channels; its sample rows and columns are placed once, then mixed for each.

Samples form a grid, so the neighbours and weights of a region are those of its rows and of its columns. A region with
more samples than there is room for (it is much larger than the feature map) has them placed where they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.vector import Vector, storage_kind
from engineworks.core.dims import Dim, ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.roi_align import RoiAlign

CHANNELS = 8
"""Of one task."""
MOST_PLACED = 1024
"""Samples of one side, where their number depends on the region."""
BYTES_A_SAMPLE = 32


class CpuRoiAlign(NativeKernels):
    """roi_align of f32, f16, bf16 and f64 (computed in f32, or in f64)."""

    name = "cpu.roialign"
    version = 2
    op = "roi_align"
    cycles_an_element = 20.0

    def refuse(self, work: Workload) -> None:
        if input_type(work, 0).dtype.name not in ("f32", "f64", "f16", "bf16"):
            raise NoTactic(f"no kernel for {input_type(work, 0).dtype}")

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(work.anchor, RoiAlign)
        return _Regions(work, work.anchor, isa).image()


@dataclass(frozen=True, slots=True)
class _Side:
    """Samples along one side of a region.

    Attributes:
        start, bin_size: where the first bin starts, and its size.
        samples: in a bin.
        extent: elements of the feature map; `stride` of its offsets.
        lows, highs, low_weights, high_weights: addresses of the placed samples' neighbours.
    """

    start: Vector
    bin_size: Vector
    samples: Size
    extent: Size
    stride: Size
    lows: str
    highs: str
    low_weights: str
    high_weights: str


Neighbours = tuple[Size, Size, Vector, Vector]
"""Offsets and weights of the elements before and after a sample."""


class _Regions:
    """Emission state."""

    def __init__(self, work: Workload, op: RoiAlign, isa: Isa) -> None:
        x = input_type(work, 0)
        self.op, self.dtype = op, x.dtype
        self.kind = "double" if x.dtype.name == "f64" else "float"
        self.k = k = KernelBuilder(isa)
        self.x, self.regions, self.images, self.y = k.input(0), k.input(1), k.input(2), k.output(0)
        self.image_dtype = input_type(work, 2).dtype
        _, self.channels, self.high, self.wide = k.sizes(x.shape)
        regions, channels = work.outputs[0].shape[:2]
        self.groups: Dim = ceil_div(channels, CHANNELS)
        self.tasks: Dim = regions * self.groups
        rows, columns = self._room(op.height), self._room(op.width)
        self.room = (rows, columns)

    def _room(self, bins: int) -> int:
        return bins * self.op.ratio if self.op.ratio else MOST_PLACED

    def image(self) -> KernelImage:
        k, f, op = self.k, self.k.f, self.op
        groups = k.size(self.groups)
        with f.loop("%lo", "%hi") as task:
            region, first = f.udiv(task, groups), f.mul(f.urem(task, groups), CHANNELS)
            picture = k.index(self.image_dtype, self.images, region)
            corners = [self._corner(region, c) for c in range(4)]
            rows = self._side(corners[1], corners[3], op.height, self.high, self.wide, 0)
            columns = self._side(corners[0], corners[2], op.width, self.wide, 1, self.room[0])
            planes = (f.mul(picture, self.channels), f.mul(region, self.channels))
            channels = (first, f.smin(f.add(first, CHANNELS), self.channels))
            self._region(rows, columns, planes, channels)
        scratch = sum(self.room) * BYTES_A_SAMPLE
        return image([k.step("roialign", self.tasks)], [k], scratch_bytes=-(-scratch // 64) * 64)

    def _region(
        self, rows: _Side, columns: _Side, planes: tuple[Size, Size], channels: tuple[Size, Size]
    ) -> None:
        f, op = self.k.f, self.op

        def in_advance() -> None:
            self._place_all(rows, columns)
            self._channels(rows, columns, planes, channels, placed=True)

        if op.ratio:
            in_advance()
            return
        needed = ((rows, op.height, self.room[0]), (columns, op.width, self.room[1]))
        fits = [f.compare("sle", f.mul(side.samples, bins), room) for side, bins, room in needed]
        f.branch(f.value(f"and i1 {fits[0]}, {fits[1]}"), in_advance,
                 lambda: self._channels(rows, columns, planes, channels, placed=False))  # fmt: skip

    def _channels(
        self,
        rows: _Side,
        columns: _Side,
        planes: tuple[Size, Size],
        channels: tuple[Size, Size],
        *,
        placed: bool,
    ) -> None:
        """Every bin of the task's channels. `planes`: numbers of the first channel in x and in the output."""
        f, op = self.k.f, self.op
        with f.loop(*channels) as channel:
            plane = f.mul(f.mul(f.add(planes[0], channel), self.high), self.wide)
            with f.loop(0, op.height) as i, f.loop(0, op.width) as j:
                value = self._bin(plane, rows, columns, i, j, placed)
                at = f.add(f.mul(f.add(f.mul(f.add(planes[1], channel), op.height), i), op.width), j)
                self._store(value, at)

    # -- floats -----------------------------------------------------------------------------------------------
    def _vector(self, name: str, kind: str | None = None) -> Vector:
        return Vector(self.k.f, self.k.isa, kind or self.kind, 1, name)

    def _number(self, value: float) -> Vector:
        return self._vector("").splat(value)

    def _load(self, pointer: str, at: Size) -> Vector:
        raw = self._vector(self.k.load(storage_kind(self.dtype), pointer, at), storage_kind(self.dtype))
        return casts.decode(self.dtype, raw)

    def _store(self, value: Vector, at: Size) -> None:
        rounded = casts.encode(self.dtype, casts.round_to(self.dtype, value))
        name = (rounded.bits("bfloat") if self.dtype.name == "bf16" else rounded).name
        self.k.store(storage_kind(self.dtype), name, self.y, at)

    def _float(self, integer: Size) -> Vector:
        return self._vector(self.k.f.value(f"sitofp i64 {integer} to {self.kind}"))

    def _integer(self, value: Vector) -> str:
        """Towards zero; anything in range for what no i64 holds."""
        bounded = value.at_least(-1.0).at_most(1e9)
        return self.k.f.value(f"fptosi {self.kind} {bounded.name} to i64")

    # -- geometry ---------------------------------------------------------------------------------------------
    def _corner(self, region: Size, number: int) -> Vector:
        f = self.k.f
        given = self._load(self.regions, f.add(f.mul(region, 4), number))
        return given * self.op.scale - (0.5 if self.op.half_pixel else 0.0)

    def _side(self, start: Vector, end: Vector, bins: int, extent: Size, stride: Size, before: int) -> _Side:
        """The samples of a side, whose list comes after `before` others in the scratch memory."""
        f = self.k.f
        length = end - start
        if not self.op.half_pixel:
            length = length.at_least(1.0)
        size = length / bins
        samples: Size = self.op.ratio or f.smax(self._integer(size.intrinsic("ceil")), 0)
        base = f.at("%scratch", before * BYTES_A_SAMPLE)
        room = self._room(bins)
        lists = [f.at(base, room * 8 * part) for part in range(4)]
        return _Side(start, size, samples, extent, stride, *lists)

    def _place_all(self, *sides: _Side) -> None:
        """Neighbours of all samples, bin after bin."""
        k, f = self.k, self.k.f
        for side, bins in zip(sides, (self.op.height, self.op.width), strict=True):
            with f.loop(0, bins) as i, f.loop(0, side.samples) as s:
                at = f.add(f.mul(i, side.samples), s)
                low, high, low_weight, high_weight = self._place(side, i, s)
                k.store("i64", low, side.lows, at)
                k.store("i64", high, side.highs, at)
                k.store(self.kind, low_weight.name, side.low_weights, at)
                k.store(self.kind, high_weight.name, side.high_weights, at)

    def _place(self, side: _Side, bin_: Size, sample: Size) -> Neighbours:
        """Weights are 0 more than one element outside."""
        f = self.k.f
        part = (self._float(sample) + 0.5) / self._float(side.samples)
        at = (self._float(bin_) + part) * side.bin_size + side.start
        last = f.sub(side.extent, 1)
        below, above = at.compare("olt", -1.0).name, at.compare("ogt", self._float(side.extent)).name
        outside = self._vector(f.value(f"or i1 {below}, {above}"), "i1")
        inside = at.at_least(0.0)
        low = f.smin(f.smax(self._integer(inside), 0), last)
        at_end = self._vector(f.compare("sge", low, last), "i1")
        zero = self._number(0)
        rest = at_end.choose(zero, inside - self._float(low))
        high = f.smin(f.add(low, 1), last)
        return (
            f.mul(low, side.stride),
            f.mul(high, side.stride),
            outside.choose(zero, 1 - rest),
            outside.choose(zero, rest),
        )

    def _sample(self, side: _Side, bin_: Size, sample: Size, placed: bool) -> Neighbours:
        if not placed:
            return self._place(side, bin_, sample)
        k, at = self.k, self.k.f.add(self.k.f.mul(bin_, side.samples), sample)
        low_weight, high_weight = (
            self._vector(k.load(self.kind, w, at)) for w in (side.low_weights, side.high_weights)
        )
        return k.load("i64", side.lows, at), k.load("i64", side.highs, at), low_weight, high_weight

    def _bin(self, plane: Size, rows: _Side, columns: _Side, i: Size, j: Size, placed: bool) -> Vector:
        f = self.k.f
        total, started = f.variable(self.kind), f.variable("i1")
        f.set(self.kind, total, self._number(0).name)
        f.set("i1", started, "false")
        with f.loop(0, rows.samples) as s:
            row = self._sample(rows, i, s, placed)
            with f.loop(0, columns.samples) as t:
                self._mix(plane, row, self._sample(columns, j, t, placed), total, started)
        result = self._vector(f.get(self.kind, total))
        if self.op.combine == "max":
            return result
        return result / self._float(f.smax(f.mul(rows.samples, columns.samples), 1))

    def _mix(self, plane: Size, row: Neighbours, column: Neighbours, total: str, started: str) -> None:
        f = self.k.f
        starts = [f.add(plane, offset) for offset in row[:2]]
        values = [[self._load(self.x, f.add(start, offset)) for offset in column[:2]] for start in starts]
        held = self._vector(f.get(self.kind, total))
        if self.op.combine == "mean":
            mixed = [pair[0] * column[2] + pair[1] * column[3] for pair in values]
            f.set(self.kind, total, (held + mixed[0] * row[2] + mixed[1] * row[3]).name)
            return
        parts = [values[r][c] * wr * wc for r, wr in enumerate(row[2:]) for c, wc in enumerate(column[2:])]
        largest = parts[0]
        for part in parts[1:]:
            largest = largest.intrinsic("maximum", part)
        before = self._vector(f.get("i1", started), "i1")
        f.set(self.kind, total, before.choose(held.intrinsic("maximum", largest), largest).name)
        f.set("i1", started, "true")


PROVIDERS = (CpuRoiAlign(),)
