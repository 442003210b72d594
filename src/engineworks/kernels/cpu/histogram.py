"""histogram: each task counts a piece of the elements in tables of its own, which are then added up.

Elements are counted to the limit that was given, while their extremes are found. Only where the limit then turns out
to be too small they are read a second time: after the first batches of a calibration that is rare.
"""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa, Size, f32_constant
from engineworks.codegen.llvm.loads import splat
from engineworks.core.dims import Dim
from engineworks.kernels.cpu.native import KernelBuilder, NativeKernels, image
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.histogram import BELOW_EXPONENT, Histogram

PIECES = 16
"""Tasks of a large tensor."""
PIECE_ELEMENTS = 1 << 14
"""Smaller pieces cost more in clearing tables than they gain."""
TABLES = 4
"""Neighbours often fall in one bin; counting them in different tables spares waiting for the last store."""
SEEN = 3
"""Numbers that a piece gives: smallest, largest, and 0 or NaN where an element is not finite."""
_INFINITY, _MINUS_INFINITY, _NAN = (f32_constant(float(x)) for x in ("inf", "-inf", "nan"))


class CpuHistogram(NativeKernels):
    """histogram of f32, in any order of axes."""

    name = "cpu.histogram"
    op = "histogram"
    version = 2
    cycles_an_element = 1.5
    any_order = True

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(work.anchor, Histogram)
        bins, total = work.anchor.bins, input_type(work, 0).count
        pieces = min(PIECES, max(1, -(-total // PIECE_ELEMENTS))) if isinstance(total, int) else PIECES
        builders = [KernelBuilder(isa) for _ in range(3)]
        count, recount, add = builders
        _count_pieces(count, bins, total, pieces)
        _recount_pieces(recount, bins, total, pieces)
        _add_up(add, bins, pieces)
        steps = [
            count.step("histogram", pieces), recount.step("histogram_again", pieces),
            add.step("histogram_sum", 1, single=True),
        ]  # fmt: skip
        workspace = [4 * bins * pieces, 4 * SEEN * pieces]
        return image(steps, builders, workspace=workspace, scratch_bytes=4 * bins * TABLES)


def _count_pieces(k: KernelBuilder, bins: int, total: Dim, pieces: int) -> None:
    """Piece p goes to row p of both workspaces: counts i32 [pieces, bins], what was seen f32 [pieces, SEEN]."""
    f = k.f
    limit, seen = k.load("float", k.input(1)), k.workspace(1)
    counter = _Counter(k, bins, total, pieces, limit)
    wide, narrow = _Extremes(k, k.isa.lanes), _Extremes(k, 1)
    with f.loop("%lo", "%hi") as piece:
        wide.clear()
        narrow.clear()
        counter.count(piece, (wide, narrow))
        for number, (a, b) in enumerate(zip(wide.folded(), narrow.folded(), strict=True)):
            together = f.value(f"fadd float {a}, {b}") if number == 2 else _pick(k, number, a, b)
            k.store("float", together, seen, f.add(f.mul(piece, SEEN), number))


def _recount_pieces(k: KernelBuilder, bins: int, total: Dim, pieces: int) -> None:
    """Every task finds the limit anew from what all pieces saw, and counts its piece again where it has changed."""
    f = k.f
    given, seen, out = k.load("float", k.input(1)), k.workspace(1), k.output(1)
    low, high, sound = (k.load("float", seen, number) for number in range(SEEN))
    for piece in range(1, pieces):
        low = _pick(k, 0, low, k.load("float", seen, SEEN * piece))
        high = _pick(k, 1, high, k.load("float", seen, SEEN * piece + 1))
        sound = f.value(f"fadd float {sound}, {k.load('float', seen, SEEN * piece + 2)}")
    is_sound = f.value(f"fcmp ord float {sound}, {sound}")
    largest = _pick(k, 1, high, f.value(f"fneg float {low}"))
    used = f.value(f"select i1 {is_sound}, float {_grown(k, given, largest)}, float {given}")
    counter = _Counter(k, bins, total, pieces, used)
    has_grown = f.value(f"fcmp une float {used}, {given}")
    with f.loop("%lo", "%hi") as piece:
        with f.when(f.compare("eq", piece, 0)):
            for number, value in enumerate((low, high)):
                told = f.value(f"select i1 {is_sound}, float {value}, float {_NAN}")
                k.store("float", told, out, number)
            k.store("float", used, out, 2)
        with f.when(has_grown):
            counter.count(piece, ())


def _add_up(k: KernelBuilder, bins: int, pieces: int) -> None:
    _add_rows(k, k.workspace(0), pieces, bins, k.output(0), 0)


def _add_rows(k: KernelBuilder, rows: str, count: int, bins: int, out: str, first: Size) -> None:
    """out[first … first + bins - 1] becomes the sum of `count` rows of `bins` i32."""
    f, step = k.f, _step(k, bins)
    vector = f"<{step} x i32>"

    def load(at: Size) -> str:
        return f.value(f"load {vector}, ptr {f.at(rows, at, 'i32')}, align 4")

    with f.loop(0, bins, step) as at:
        total = load(at)
        for row in range(1, count):
            total = f.value(f"add {vector} {total}, {load(f.add(at, bins * row))}")
        f.line(f"store {vector} {total}, ptr {f.at(out, f.add(first, at), 'i32')}, align 4")


def _step(k: KernelBuilder, bins: int) -> int:
    """Bins that are handled at once."""
    return k.isa.lanes if bins % k.isa.lanes == 0 else 1


def _pick(k: KernelBuilder, which: int, a: str, b: str) -> str:
    """The smaller (0) or the larger (1) of two floats."""
    return k.f.call("float", f"llvm.{('minnum', 'maxnum')[which]}.f32", f"float {a}", f"float {b}")


def _grown(k: KernelBuilder, limit: str, largest: str) -> str:
    """`ops.histogram.grown` of finite magnitudes, or of -inf where there are none."""
    f = k.f
    ratio = f.value(f"fdiv float {largest}, {limit}")
    above = f.value(f"add i32 {f.value(f'bitcast float {ratio} to i32')}, {BELOW_EXPONENT}")
    power = f.value(f"bitcast i32 {f.value(f'and i32 {above}, {~BELOW_EXPONENT}')} to float")
    factor = _pick(k, 1, power, f32_constant(1.0))
    doubled = f.value(f"fmul float {limit}, {factor}")
    is_in_reach = f.value(f"fcmp olt float {doubled}, {_INFINITY}")
    is_positive = f.value(f"fcmp ogt float {limit}, 0.0")
    chosen = f.value(
        f"select i1 {f.value(f'and i1 {is_in_reach}, {is_positive}')}, float {doubled}, float {largest}"
    )
    is_any = f.value(f"fcmp ogt float {largest}, {_MINUS_INFINITY}")
    return f.value(f"select i1 {is_any}, float {chosen}, float {limit}")


class _Extremes:
    """Smallest, largest and soundness of the elements so far, in vectors of `lanes`."""

    def __init__(self, k: KernelBuilder, lanes: int) -> None:
        self.k, self.lanes, self.kind = k, lanes, f"<{lanes} x float>"
        self.variables = [k.f.variable(self.kind) for _ in range(SEEN)]

    def clear(self) -> None:
        for variable, start in zip(self.variables, (_INFINITY, _MINUS_INFINITY, "0.0"), strict=True):
            self.k.f.set(self.kind, variable, f"splat (float {start})")

    def take(self, value: str) -> None:
        """x · 0 is NaN where x is not finite, and stays so in a sum."""
        f, kind = self.k.f, self.kind
        low, high, sound = (f.get(kind, variable) for variable in self.variables)
        zero = f.value(f"fmul {kind} {value}, zeroinitializer")
        taken = (
            f.call(kind, f"llvm.minnum.v{self.lanes}f32", f"{kind} {low}", f"{kind} {value}"),
            f.call(kind, f"llvm.maxnum.v{self.lanes}f32", f"{kind} {high}", f"{kind} {value}"),
            f.value(f"fadd {kind} {sound}, {zero}"),
        )
        for variable, new in zip(self.variables, taken, strict=True):
            f.set(kind, variable, new)

    def folded(self) -> tuple[str, str, str]:
        """The three as scalars."""
        f, kind = self.k.f, self.kind
        low, high, sound = (f.get(kind, variable) for variable in self.variables)
        suffix = f"v{self.lanes}f32"
        return (
            f.call("float", f"llvm.vector.reduce.fmin.{suffix}", f"{kind} {low}"),
            f.call("float", f"llvm.vector.reduce.fmax.{suffix}", f"{kind} {high}"),
            f.call("float", f"llvm.vector.reduce.fadd.{suffix}", "float 0.0", f"{kind} {sound}"),
        )


class _Counter:
    """Counts pieces in the tables of a thread's scratch. To be made in the entry block."""

    def __init__(self, k: KernelBuilder, bins: int, total: Dim, pieces: int, limit: str) -> None:
        self.k, self.bins = k, bins
        self.x, self.rows, self.total = k.input(0), k.workspace(0), k.size(total)
        self.length = k.f.ceil_div(self.total, pieces)
        self.bins_a_unit = k.f.value(f"fdiv float {f32_constant(float(bins))}, {limit}")

    def count(self, piece: str, extremes: tuple[_Extremes, ...]) -> None:
        """Row `piece` of the counts; `extremes`, of vectors and of single elements, take the elements too."""
        k, f, lanes, bins = self.k, self.k.f, self.k.isa.lanes, self.bins
        first = f.smin(f.mul(piece, self.length), self.total)
        last = f.smin(f.add(first, self.length), self.total)
        whole = f.sub(last, f.urem(f.sub(last, first), lanes))
        step = _step(k, bins)
        with f.loop(0, bins * TABLES, step) as at:
            f.line(f"store <{step} x i32> zeroinitializer, ptr {f.at('%scratch', at, 'i32')}, align 4")
        with f.loop(first, whole, lanes) as at:
            self._take(at, lanes, extremes[:1])
        with f.loop(whole, last) as at:
            self._take(at, 1, extremes[1:])
        with f.loop(0, bins) as bin_:
            counted = k.load("i32", "%scratch", bin_)
            for table in range(1, TABLES):
                counted = f.value(
                    f"add i32 {counted}, {k.load('i32', '%scratch', f.add(bin_, bins * table))}"
                )
            k.store("i32", counted, self.rows, f.add(f.mul(piece, bins), bin_))

    def _take(self, at: Size, lanes: int, extremes: tuple[_Extremes, ...]) -> None:
        """Count `lanes` elements. minnum takes the number of the two, so that NaN falls in the last bin."""
        k, f, vector, suffix = self.k, self.k.f, f"<{lanes} x float>", f"v{lanes}f32"
        value = f.value(f"load {vector}, ptr {f.at(self.x, at, 'float')}, align 4")
        for each in extremes:
            each.take(value)
        magnitude = f.call(vector, f"llvm.fabs.{suffix}", f"{vector} {value}")
        position = f.value(f"fmul {vector} {magnitude}, {splat(f, lanes, 'float', self.bins_a_unit)}")
        highest = f"splat (float {f32_constant(float(self.bins - 1))})"
        bounded = f.call(vector, f"llvm.minnum.{suffix}", f"{vector} {position}", f"{vector} {highest}")
        found = f.value(f"fptosi {vector} {bounded} to <{lanes} x i32>")
        for lane in range(lanes):
            bin_ = f.value(
                f"zext i32 {f.value(f'extractelement <{lanes} x i32> {found}, i64 {lane}')} to i64"
            )
            place = f.at("%scratch", f.add(bin_, self.bins * (lane % TABLES)), "i32")
            k.store("i32", f.value(f"add i32 {k.load('i32', place)}, 1"), place)


PROVIDERS = (CpuHistogram(),)
