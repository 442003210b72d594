"""roi_align: one task a region and channel; samples are placed and mixed where they are needed."""
from __future__ import annotations

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.vector import Vector, storage_kind
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image, input_type
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops.roi_align import RoiAlign


class CpuRoiAlign(NativeKernels):
    """roi_align of f32, f16, bf16 and f64 (computed in f32, or in f64)."""

    name = "cpu.roialign"
    op = "roi_align"
    cycles_an_element = 20.0

    def refuse(self, work: Workload) -> None:
        if input_type(work, 0).dtype.name not in ("f32", "f64", "f16", "bf16"):
            raise NoTactic(f"no kernel for {input_type(work, 0).dtype}")

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(work.anchor, RoiAlign)
        return _Regions(work, work.anchor, isa).image(work)


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

    def image(self, work: Workload) -> KernelImage:
        k, f, op = self.k, self.k.f, self.op
        with f.loop("%lo", "%hi") as task:
            region, channel = f.udiv(task, self.channels), f.urem(task, self.channels)
            picture = k.index(self.image_dtype, self.images, region)
            plane = f.mul(f.mul(f.add(f.mul(picture, self.channels), channel), self.high), self.wide)
            corners = [self._corner(region, c) for c in range(4)]
            rows = self._side(corners[1], corners[3], op.height)
            columns = self._side(corners[0], corners[2], op.width)
            with f.loop(0, op.height) as i, f.loop(0, op.width) as j:
                value = self._bin(plane, rows, columns, i, j)
                at = f.add(f.mul(f.add(f.mul(task, op.height), i), op.width), j)
                self._store(value, at)
        regions, channels = work.outputs[0].shape[:2]
        return image([k.step("roialign", regions * channels)], [k])

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

    def _side(self, start: Vector, end: Vector, bins: int) -> tuple[Vector, Vector, Size]:
        """Start, size of a bin, samples in a bin."""
        length = end - start
        if not self.op.half_pixel:
            length = length.at_least(1.0)
        size = length / bins
        samples: Size = self.op.ratio or self._integer(size.intrinsic("ceil"))
        return start, size, self.k.f.smax(samples, 0) if isinstance(samples, str) else samples

    def _position(self, side: tuple[Vector, Vector, Size], bin_: Size, sample: Size) -> Vector:
        start, size, samples = side
        part = (self._float(sample) + 0.5) / self._float(samples)
        return (self._float(bin_) + part) * size + start

    def _bin(self, plane: Size, rows: tuple[Vector, Vector, Size], columns: tuple[Vector, Vector, Size], i: Size, j: Size) -> Vector:
        f = self.k.f
        total, started = f.variable(self.kind), f.variable("i1")
        f.set(self.kind, total, self._number(0).name)
        f.set("i1", started, "false")
        with f.loop(0, rows[2]) as s:
            row = self._neighbours(self._position(rows, i, s), self.high)
            with f.loop(0, columns[2]) as t:
                column = self._neighbours(self._position(columns, j, t), self.wide)
                self._mix(plane, row, column, total, started)
        result = self._vector(f.get(self.kind, total))
        if self.op.combine == "max":
            return result
        return result / self._float(f.smax(f.mul(rows[2], columns[2]), 1))

    def _neighbours(self, at: Vector, extent: Size) -> tuple[list[str], list[Vector]]:
        """Two indices and their weights; weights are 0 more than one element outside."""
        f = self.k.f
        last = f.sub(extent, 1)
        below = at.compare("olt", -1.0).name
        above = at.compare("ogt", self._float(extent)).name
        outside = self._vector(f.value(f"or i1 {below}, {above}"), "i1")
        inside = at.at_least(0.0)
        low = f.smin(f.smax(self._integer(inside), 0), last)
        at_end = self._vector(f.compare("sge", low, last), "i1")
        part = at_end.choose(self._number(0), inside - self._float(low))
        zero = self._number(0)
        weights = [outside.choose(zero, 1 - part), outside.choose(zero, part)]
        return [str(low), str(f.smin(f.add(low, 1), last))], weights

    def _mix(self, plane: Size, row: tuple[list[str], list[Vector]], column: tuple[list[str], list[Vector]], total: str, started: str) -> None:
        f = self.k.f
        parts = [
            self._load(self.x, f.add(plane, f.add(f.mul(r, self.wide), c))) * wr * wc
            for r, wr in zip(*row, strict=True)
            for c, wc in zip(*column, strict=True)
        ]
        held = self._vector(f.get(self.kind, total))
        if self.op.combine == "mean":
            f.set(self.kind, total, (held + parts[0] + parts[1] + parts[2] + parts[3]).name)
            return
        largest = parts[0]
        for part in parts[1:]:
            largest = largest.intrinsic("maximum", part)
        before = self._vector(f.get("i1", started), "i1")
        f.set(self.kind, total, before.choose(held.intrinsic("maximum", largest), largest).name)
        f.set("i1", started, "true")


PROVIDERS = (CpuRoiAlign(),)
