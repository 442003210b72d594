"""The kernel of convolutions with very few outputs; `conv_few` says when and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.codegen.llvm.prims import emit_epilogue
from engineworks.codegen.llvm.vector import register_kind, vector_type
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div
from engineworks.core.dtypes import DType
from engineworks.kernels.cpu.conv import Geometry, known
from engineworks.kernels.cpu.conv_epilogue import Finish
from engineworks.kernels.cpu.conv_rows import FLAT_ROW_PIXELS
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Output, Word
from engineworks.kernels.workload import Workload


@dataclass(frozen=True, slots=True)
class FewProblem:
    """What is computed, for a conv and for a transposed conv whose kernel is its stride.

    Attributes:
        g: windows over x; for a transposed conv 1x1 windows over its input.
        fine: (rows, columns) of outputs for each window: the stride of a transposed conv, else (1, 1).
    """

    g: Geometry
    fine: tuple[int, int]

    @property
    def results(self) -> int:
        """Outputs of one window along a row."""
        return self.fine[1] * self.g.outputs

    @property
    def run(self) -> int:
        """Inputs of one row of a window: they lie one after another."""
        return self.g.kernel[2] * self.g.channels


class FewKernel:
    """One kernel while it is emitted. A task is a row of windows (of a transposed conv: for one row of taps)."""

    def __init__(
        self,
        f: Function,
        isa: Isa,
        problem: FewProblem,
        work: Workload,
        end: Finish,
        arguments: Words,
        source: Word,
        filters: Word,
    ) -> None:
        self.f, self.isa, self.p, self.work, self.end, self.arguments = f, isa, problem, work, end, arguments
        g = problem.g
        self.x, self.w = arguments.pointer(source), arguments.pointer(filters)
        self.y = arguments.pointer(Output(0))
        self.operands = {index: arguments.pointer(Input(index)) for index, _, _ in end.operands}
        self.x_strides, self.y_strides = arguments.sizes(g.x_strides), arguments.sizes(g.y_strides)
        self.out = arguments.sizes(g.out)
        self.flat = g.is_pointwise and problem.fine == (1, 1)
        self.windows = arguments.size(g.batch * g.out[0] * g.out[1] * g.out[2]) if self.flat else 0
        self.vector = f"<{isa.lanes} x float>"
        self.chunks = -(-problem.run // isa.lanes)

    def emit(self) -> Dim:
        """The loops; the number of tasks."""
        f, g, down = self.f, self.p.g, self.p.fine[0]
        with f.loop("%lo", "%hi") as task:
            if self.flat:
                start = f.mul(task, FLAT_ROW_PIXELS)
                count = f.smin(f.sub(self.windows, start), FLAT_ROW_PIXELS)
                self._row(f.mul(start, self.x_strides[3]), f.mul(start, self.y_strides[3]), count, 0)
            else:
                fine, row = f.urem(task, down), f.udiv(task, down)
                oy = f.urem(row, self.out[1])
                oz = f.urem(f.udiv(row, self.out[1]), self.out[0])
                image = f.udiv(row, f.mul(self.out[0], self.out[1]))
                x = f.add(
                    f.mul(image, self.x_strides[0]),
                    f.add(
                        f.mul(f.mul(oz, g.strides[0]), self.x_strides[1]),
                        f.mul(f.mul(oy, g.strides[1]), self.x_strides[2]),
                    ),
                )
                y = f.add(
                    f.mul(image, self.y_strides[0]),
                    f.add(f.mul(oz, self.y_strides[1]), f.mul(oy, self.y_strides[2])),
                )
                y = f.add(y, f.mul(fine, f.udiv(self.y_strides[2], down)))
                self._row(x, y, self.out[2], fine)
        if self.flat:
            return ceil_div(g.batch * g.out[0] * g.out[1] * g.out[2], FLAT_ROW_PIXELS)
        return g.batch * g.out[0] * g.out[1] * down

    def _row(self, x: Size, y: Size, count: Size, fine: Size) -> None:
        f = self.f
        pixels = self.isa.lanes // self.p.results
        whole = f.mul(f.udiv(count, pixels), pixels)
        with f.loop(0, whole, pixels) as pixel:
            self._block(pixels, pixel, x, y, fine)
        with f.loop(whole, count) as pixel:
            self._block(1, pixel, x, y, fine)

    def _block(self, pixels: int, pixel: Size, x: Size, y: Size, fine: Size) -> None:
        """The results of `pixels` windows, stored together."""
        f, g, results = self.f, self.p.g, self.p.results
        step = g.strides[2] * known(self.x_strides[3])
        start = f.add(x, f.mul(pixel, step))
        sums = [[f.variable(self.vector, "zeroinitializer") for _ in range(results)] for _ in range(pixels)]
        with f.loop(0, g.kernel[0]) as d, f.loop(0, g.kernel[1]) as i:
            at = f.add(
                start,
                f.add(
                    f.mul(f.mul(d, g.dilations[0]), self.x_strides[1]),
                    f.mul(f.mul(i, g.dilations[1]), self.x_strides[2]),
                ),
            )
            tap_row = f.add(f.add(f.mul(d, g.kernel[1]), i), fine)
            w = f.at(self.w, f.mul(tap_row, self.chunks * results * self.isa.lanes * 4))
            self._run(f.at(self.x, at, "float"), w, sums, step)
        partial = [f.get(self.vector, s) for pair in sums for s in pair]
        element = f.add(y, f.mul(pixel, self.y_strides[3]))
        self._store(add_lanes(f, self.isa.lanes, partial), element, pixels * results)

    def _run(self, x: str, w: str, sums: Sequence[Sequence[str]], step: int) -> None:
        """One row of the window: whole registers, then what is left."""
        lanes, run = self.isa.lanes, self.p.run
        whole = run // lanes
        if whole:
            with self.f.loop(0, whole) as chunk:
                self._chunk(x, w, chunk, sums, step, None)
        if run % lanes:
            self._chunk(x, w, whole, sums, step, iota_below(self.f, lanes, run % lanes))

    def _chunk(
        self, x: str, w: str, chunk: Size, sums: Sequence[Sequence[str]], step: int, mask: str | None
    ) -> None:
        f, lanes, v = self.f, self.isa.lanes, self.vector
        row = f.at(w, f.mul(chunk, self.p.results * lanes * 4))
        weights = [
            load_vector(f, lanes, dtypes.f32, f.at(row, m * lanes * 4), align=lanes * 4)
            for m in range(self.p.results)
        ]
        for k, pair in enumerate(sums):
            value = load_vector(
                f, lanes, dtypes.f32, f.at(x, f.add(f.mul(chunk, lanes), k * step), "float"), mask
            )
            for weight, total in zip(weights, pair, strict=True):
                product = f.call(
                    v, f"llvm.fma.v{lanes}f32", f"{v} {value}", f"{v} {weight}", f"{v} {f.get(v, total)}"
                )
                f.set(v, total, product)

    def _store(self, value: str, element: Size, count: int) -> None:
        f, lanes, dtype = self.f, self.isa.lanes, self.work.outputs[0].dtype
        mask = None if count == lanes else iota_below(f, lanes, count)
        if self.end.expression is not None:
            arguments = [value]
            for index, kind, operand in self.end.operands:
                kind_of, base = operand.type.dtype, self.operands[index]
                if kind == "full":
                    arguments.append(
                        load_vector(f, lanes, kind_of, f.at(base, f.mul(element, kind_of.size_bytes)), mask)
                    )
                elif kind == "scalar":
                    arguments.append(load_vector(f, lanes, kind_of, base, broadcast=True))
                else:
                    few = load_vector(f, lanes, kind_of, base, iota_below(f, lanes, self.p.g.outputs))
                    arguments.append(self._repeated(few, kind_of))
            value = emit_epilogue(f, self.isa, self.end.expression, arguments)
        store_vector(f, lanes, dtype, f.at(self.y, f.mul(element, dtype.size_bytes)), value, mask)

    def _repeated(self, channels: str, dtype: DType) -> str:
        """Lane k gets element k % outputs: results of neighbouring pixels lie side by side."""
        lanes = self.isa.lanes
        order = ", ".join(f"i32 {k % self.p.g.outputs}" for k in range(lanes))
        vector = vector_type(register_kind(dtype), lanes)
        return self.f.value(f"shufflevector {vector} {channels}, {vector} poison, <{lanes} x i32> <{order}>")


def add_lanes(f: Function, lanes: int, vectors: Sequence[str]) -> str:
    """A vector whose lane k is the sum of the lanes of vectors[k]; at most `lanes` vectors."""
    kind = f"<{lanes} x float>"
    work: Mapping[int, str] = dict(enumerate(vectors))
    half = lanes // 2
    while half:
        merged: dict[int, str] = {}
        for k in range(half):
            a, b = work.get(k), work.get(k + half, "zeroinitializer")
            if a is None:
                continue
            blocks = [range(start, start + half) for start in range(0, lanes, 2 * half)]
            low = ", ".join(f"i32 {i + side * lanes}" for block in blocks for side in (0, 1) for i in block)
            high = ", ".join(
                f"i32 {i + half + side * lanes}" for block in blocks for side in (0, 1) for i in block
            )
            x = f.value(f"shufflevector {kind} {a}, {kind} {b}, <{lanes} x i32> <{low}>")
            y = f.value(f"shufflevector {kind} {a}, {kind} {b}, <{lanes} x i32> <{high}>")
            merged[k] = f.value(f"fadd {kind} {x}, {y}")
        work, half = merged, half // 2
    return work[0]
