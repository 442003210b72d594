"""histogram: each task counts a piece of the elements in tables of its own, which are then added up."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size
from engineworks.codegen.llvm.loads import splat
from engineworks.core.dims import Dim
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.histogram import Histogram

PIECES = 16
"""Tasks of a large tensor."""
PIECE_ELEMENTS = 1 << 14
"""Smaller pieces cost more in clearing tables than they gain."""
TABLES = 4
"""Neighbours often fall in one bin; counting them in different tables spares waiting for the last store."""


class CpuHistogram(NativeKernels):
    """histogram of f32, in any order of axes."""

    name = "cpu.histogram"
    op = "histogram"
    cycles_an_element = 1.5
    any_order = True

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(work.anchor, Histogram)
        bins, total = work.anchor.bins, input_type(work, 0).count
        pieces = min(PIECES, max(1, -(-total // PIECE_ELEMENTS))) if isinstance(total, int) else PIECES
        count, add = KernelBuilder(isa), KernelBuilder(isa)
        _count_pieces(count, bins, total, pieces)
        _add_up(add, bins, pieces)
        steps = [count.step("histogram", pieces), add.step("histogram_sum", 1, single=True)]
        return image(steps, [count, add], workspace=[4 * bins * pieces], scratch_bytes=4 * bins * TABLES)


def _count_pieces(k: KernelBuilder, bins: int, total: Dim, pieces: int) -> None:
    """Piece p of the elements goes to row p of the workspace, i32 [pieces, bins]."""
    f = k.f
    x, limit, rows, size = k.input(0), k.input(1), k.workspace(0), k.size(total)
    bins_a_unit = f.value(f"fdiv float {float(bins):.1f}, {k.load('float', limit)}")
    length = f.ceil_div(size, pieces)
    with f.loop("%lo", "%hi") as piece:
        first = f.smin(f.mul(piece, length), size)
        last = f.smin(f.add(first, length), size)
        _clear(k, "%scratch", bins * TABLES)
        whole = f.sub(last, f.urem(f.sub(last, first), k.isa.lanes))
        with f.loop(first, whole, k.isa.lanes) as at:
            _count(k, x, at, k.isa.lanes, bins, bins_a_unit)
        with f.loop(whole, last) as at:
            _count(k, x, at, 1, bins, bins_a_unit)
        with f.loop(0, bins) as bin_:
            counted = k.load("i32", "%scratch", bin_)
            for table in range(1, TABLES):
                counted = f.value(
                    f"add i32 {counted}, {k.load('i32', '%scratch', f.add(bin_, bins * table))}"
                )
            k.store("i32", counted, rows, f.add(f.mul(piece, bins), bin_))


def _clear(k: KernelBuilder, pointer: str, count: int) -> None:
    with k.f.loop(0, count) as at:
        k.store("i32", 0, pointer, at)


def _count(k: KernelBuilder, x: str, at: Size, lanes: int, bins: int, bins_a_unit: str) -> None:
    """Count `lanes` elements from `at` on. minnum takes the number of the two, so that NaN falls in the last bin."""
    f, vector = k.f, f"<{lanes} x float>"
    suffix = f"v{lanes}f32"
    value = f.value(f"load {vector}, ptr {f.at(x, at, 'float')}, align 4")
    magnitude = f.call(vector, f"llvm.fabs.{suffix}", f"{vector} {value}")
    position = f.value(f"fmul {vector} {magnitude}, {splat(f, lanes, 'float', bins_a_unit)}")
    highest = f"splat (float {float(bins - 1):.1f})"
    bounded = f.call(vector, f"llvm.minnum.{suffix}", f"{vector} {position}", f"{vector} {highest}")
    found = f.value(f"fptosi {vector} {bounded} to <{lanes} x i32>")
    for lane in range(lanes):
        bin_ = f.value(f"zext i32 {f.value(f'extractelement <{lanes} x i32> {found}, i64 {lane}')} to i64")
        place = f.at("%scratch", f.add(bin_, bins * (lane % TABLES)), "i32")
        k.store("i32", f.value(f"add i32 {k.load('i32', place)}, 1"), place)


def _add_up(k: KernelBuilder, bins: int, pieces: int) -> None:
    f = k.f
    rows, out = k.workspace(0), k.output(0)
    with f.loop(0, bins) as bin_:
        counted = k.load("i32", rows, bin_)
        for piece in range(1, pieces):
            counted = f.value(f"add i32 {counted}, {k.load('i32', rows, f.add(bin_, bins * piece))}")
        k.store("i32", counted, out, bin_)


PROVIDERS = (CpuHistogram(),)
