"""One tile of query rows of the attention kernel: scores, softmax, results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm import math as vector_math
from engineworks.codegen.llvm.function import Function, Size, f32_constant
from engineworks.codegen.llvm.loads import iota_below, load_vector, splat, store_vector, widened
from engineworks.codegen.llvm.multiply import BF16_DOT, BF16_ROWS, F16_WEIGHTS, F32, Multiply
from engineworks.codegen.llvm.tile import Segment, Store, Tile, accumulate, column_mask, store_tile
from engineworks.codegen.llvm.vector import Vector
from engineworks.core import dtypes
from engineworks.ir.scalar import Scalar, argument, cast
from engineworks.kernels.cpu.matmul_dot import dot_columns

if TYPE_CHECKING:
    from engineworks.kernels.cpu.attention_emit import AttentionKernel

MINUS_INFINITY = f"splat (float {f32_constant(float('-inf'))})"


class RowTile:
    """`rows` query rows from `row` on; `slot` is their place in the group's scratch."""

    def __init__(self, kernel: AttentionKernel, rows: int, row: Size, slot: Size) -> None:
        self.kernel, self.rows, self.row, self.slot = kernel, rows, row, slot
        self.f, self.isa, self.lanes = kernel.f, kernel.isa, kernel.lanes
        self.vector = f"<{self.lanes} x float>"

    def _slot(self, start: int, step: int, row: Size = 0) -> str:
        """Address in scratch of what belongs to a row of this tile."""
        f = self.f
        return f.at("%scratch", f.add(start, f.mul(f.add(self.slot, row), step)))

    # -- scores -----------------------------------------------------------------------------------------------
    def scores(self, first: Size, count: Size) -> None:
        """scores[r][0 … count) of the keys from `first`, up to whole panels filled with -inf; maxima on the way."""
        f, kernel, scratch = self.f, self.kernel, self.kernel.scratch
        self.count = count
        self.panels = f.ceil_div(count, kernel.width)
        for r in range(self.rows):
            peak = f.at("%scratch", scratch.peaks + r * self.lanes * 4)
            f.line(f"store {self.vector} {MINUS_INFINITY}, ptr {peak}, align 4")
        with f.loop(0, self.panels) as panel:
            sums = self._panel_sums(first, count, panel)
            column = f.mul(panel, kernel.width)
            seen = f.sub(count, column)
            if kernel.problem.causal:
                seen = f.smin(seen, f.sub(f.add(f.add(kernel.past, self.row), 1), f.add(first, column)))
            whole = isinstance(count, int) and count % kernel.width == 0 and not kernel.problem.causal
            if whole:
                self._keep_scores(sums, first, column, None)
            else:
                f.branch(
                    f.compare("sge", seen, kernel.width),
                    lambda: self._keep_scores(sums, first, column, None),
                    lambda: self._keep_scores(sums, first, column, f.sub(count, column)),
                )

    def _panel_sums(self, first: Size, count: Size, panel: Size) -> list[list[str]]:
        """Queries times one panel of keys; [] where the sums lie in the scratch."""
        return self._dots(first, count, panel) if self.kernel.config.dot else self._products(first, panel)

    def _products(self, first: Size, panel: Size) -> list[list[str]]:
        """Queries times one panel of packed keys."""
        f, kernel = self.f, self.kernel
        query, keys = kernel.operands["queries"], kernel.operands["keys"]
        a = f.at(kernel.base["queries"], f.mul(self.row, query.row))
        way = BF16_DOT if kernel.config.form == "bf16_dot" else F32
        groups, tail = f.udiv(kernel.depth, way.group), f.urem(kernel.depth, way.group)
        loop = (groups, f.mul(way.group, query.column), 1)
        segment = Segment(tuple(range(self.rows)), (loop,), tail=tail if way.group > 1 else 0)
        tile = Tile(
            tuple(f.mul(r, query.row) for r in range(self.rows)),
            kernel.config.vectors,
            (segment,),
            kernel.width * 4,
            b_align=self.lanes * 4,
            multiply=way,
        )
        number = f.add(f.udiv(first, kernel.width), panel)
        return accumulate(f, self.isa, tile, a, f.at(kernel.base["keys"], f.mul(number, keys.panel)))

    def _dots(self, first: Size, count: Size, panel: Size) -> list[list[str]]:
        """Queries times the keys of one vector, where those lie."""
        f, kernel = self.f, self.kernel
        query, keys = kernel.operands["queries"], kernel.operands["keys"]
        column = f.mul(panel, self.lanes)
        b = f.at(kernel.base["keys"], f.mul(f.add(first, column), keys.row))
        rows = [f.at(kernel.base["queries"], f.mul(f.add(self.row, r), query.row)) for r in range(self.rows)]
        left = f.sub(count, column)
        return [[dot_columns(f, self.isa, a, b, kernel.depth, keys.row, left, keys.dtype)] for a in rows]

    def _keep_scores(self, sums: list[list[str]], first: Size, column: Size, left: Size | None) -> None:
        """Scale, mask, note the maxima, store. `left`: keys left from this column on, None when all count."""
        for r in range(self.rows):
            self._keep_row(sums[r], r, first, column, left)

    def _keep_row(self, sums: list[str], r: Size, first: Size, column: Size, left: Size | None) -> None:
        f, kernel, scratch = self.f, self.kernel, self.kernel.scratch
        peak_at = f.at("%scratch", f.add(scratch.peaks, f.mul(r, self.lanes * 4)))
        peak = f.value(f"load {self.vector}, ptr {peak_at}, align 4")
        row = f.at("%scratch", f.add(f.mul(r, scratch.stride), f.mul(column, 4)))
        for j in range(kernel.config.vectors):
            value = self._scaled(sums[j], r, first, f.add(column, j * self.lanes), left, j)
            larger = f.value(f"fcmp ogt {self.vector} {value}, {peak}")
            peak = f.value(
                f"select <{self.lanes} x i1> {larger}, {self.vector} {value}, {self.vector} {peak}"
            )
            store_vector(f, self.lanes, dtypes.f32, f.at(row, j * self.lanes * 4), value)
        f.line(f"store {self.vector} {peak}, ptr {peak_at}, align 4")

    def _scaled(self, product_: str, r: Size, first: Size, column: Size, left: Size | None, j: int) -> str:
        f, kernel = self.f, self.kernel
        limit = None if left is None else column_mask(f, self.lanes, left, j)
        scale = f"splat (float {f32_constant(kernel.problem.scale)})"
        mask = kernel.operands.get("mask")
        if mask is None:
            value = f.value(f"fmul {self.vector} {product_}, {scale}")
        else:
            row = f.mul(f.add(self.row, r), mask.row)
            at = f.at(kernel.base["mask"], f.add(row, f.mul(f.add(first, column), mask.column)))
            added = load_vector(f, self.lanes, mask.dtype, at, limit, broadcast=mask.column == 0)
            added = widened(f, self.lanes, mask.dtype, dtypes.f32, added)
            value = f.call(
                self.vector,
                f"llvm.fma.v{self.lanes}f32",
                f"{self.vector} {product_}",
                f"{self.vector} {scale}",
                f"{self.vector} {added}",
            )
        if left is None:
            return value
        visible = limit or ""
        if kernel.problem.causal:
            reach = f.sub(f.add(f.add(kernel.past, self.row), f.add(r, 1)), f.add(first, column))
            reach = f.smin(reach, f.sub(left, j * self.lanes))
            visible = iota_below(f, self.lanes, reach)
        if not visible:
            return value
        return f.value(
            f"select <{self.lanes} x i1> {visible}, {self.vector} {value}, {self.vector} {MINUS_INFINITY}"
        )

    # -- softmax ----------------------------------------------------------------------------------------------
    def weights(self, *, first: bool) -> None:
        """Scores become e**(score - maximum); `first`: there are no earlier maxima. Earlier results are rescaled."""
        f, scratch = self.f, self.kernel.scratch
        blank = Vector(f, self.isa, "float", self.lanes, "")
        with f.loop(0, self.rows) as r:
            peak_at = f.at("%scratch", f.add(scratch.peaks, f.mul(r, self.lanes * 4)))
            peak = self._across(f.value(f"load {self.vector}, ptr {peak_at}, align 4"), _larger)
            shrink = None
            if not first:
                peak, shrink = self._grown(peak, r)
            total = self._exponentials(blank.of(peak), r)
            self._keep_sum(total, shrink, r)

    def _grown(self, peak: str, r: Size) -> tuple[str, Vector]:
        """(The maximum of all blocks so far, the factor for what was summed under the old one)."""
        f, scratch = self.f, self.kernel.scratch
        blank = Vector(f, self.isa, "float", self.lanes, "")
        at = self._slot(scratch.maxima, 4, r)
        old = load_vector(f, self.lanes, dtypes.f32, at, broadcast=True)
        new = _larger(f, self.vector, self.lanes, peak, old)
        f.line(f"store float {f.value(f'extractelement {self.vector} {new}, i64 0')}, ptr {at}")
        # While nothing but -inf was seen, any finite reference keeps exp(-inf - reference) at zero.
        nothing = f.value(f"fcmp oeq {self.vector} {new}, {MINUS_INFINITY}")
        safe = f.value(
            f"select <{self.lanes} x i1> {nothing}, {self.vector} zeroinitializer, {self.vector} {new}"
        )
        return safe, vector_math.exp(blank.of(old) - blank.of(safe))

    def _exponentials(self, peak: Vector, r: Size) -> Vector:
        """Σ e**(score - peak) of a row, which is written over the scores: as bf16 where the products read that, in
        half the space.
        """
        f, kernel, scratch = self.f, self.kernel, self.kernel.scratch
        sums = [f.variable(self.vector, "zeroinitializer") for _ in range(kernel.config.vectors)]
        row = f.at("%scratch", f.mul(r, scratch.stride))
        narrow = kernel.config.form in ("bf16_dot", "tiles")
        with f.loop(0, f.mul(self.panels, kernel.width * 4), kernel.width * 4) as at:
            for j, total in enumerate(sums):
                pointer = f.at(f.at(row, at), j * self.lanes * 4)
                value = vector_math.exp(peak.of(load_vector(f, self.lanes, dtypes.f32, pointer)) - peak)
                if narrow:
                    half = f.at(f.at(row, f.udiv(at, 2)), j * self.lanes * 2)
                    rounded = casts.encode(dtypes.bf16, casts.round_to(dtypes.bf16, value)).bits("bfloat")
                    store_vector(f, self.lanes, dtypes.bf16, half, rounded.name)
                else:
                    store_vector(f, self.lanes, dtypes.f32, pointer, value.name)
                f.set(self.vector, total, (peak.of(f.get(self.vector, total)) + value).name)
        total = peak.of(f.get(self.vector, sums[0]))
        for other in sums[1:]:
            total = total + peak.of(f.get(self.vector, other))
        return peak.of(self._across(total.name, _sum))

    def _keep_sum(self, total: Vector, shrink: Vector | None, r: Size) -> None:
        f, scratch = self.f, self.kernel.scratch
        at = self._slot(scratch.sums, 4, r)
        if shrink is not None:
            old = total.of(load_vector(f, self.lanes, dtypes.f32, at, broadcast=True))
            total = old.fma(shrink, total)
            with f.loop(0, scratch.result_row, self.lanes * 4) as offset:
                pointer = f.at(self._slot(scratch.results, scratch.result_row, r), offset)
                value = total.of(load_vector(f, self.lanes, dtypes.f32, pointer)) * shrink
                store_vector(f, self.lanes, dtypes.f32, pointer, value.name)
        f.line(f"store float {f.value(f'extractelement {self.vector} {total.name}, i64 0')}, ptr {at}")

    def _across(self, value: str, combine: Callable[[Function, str, int, str, str], str]) -> str:
        """All lanes combined, in every lane."""
        step = self.lanes // 2
        while step:
            order = ", ".join(f"i32 {k ^ step}" for k in range(self.lanes))
            other = self.f.value(
                f"shufflevector {self.vector} {value}, {self.vector} poison, <{self.lanes} x i32> <{order}>"
            )
            value = combine(self.f, self.vector, self.lanes, value, other)
            step //= 2
        return value

    # -- results ----------------------------------------------------------------------------------------------
    def results(self, first: Size, *, carried: bool) -> None:
        """weights times values, added to the carried results or divided by the sums and stored."""
        f, kernel, scratch = self.f, self.kernel, self.kernel.scratch
        values = kernel.operands["values"]
        packed = kernel.problem.values.panel != 0
        inverse = None if carried else self._inverse_sums()
        way = self._value_way()
        for column in range(0, kernel.problem.value_width, kernel.value_width):
            left = min(kernel.problem.value_width - column, kernel.value_width)
            vectors = -(-left // self.lanes)
            masks = () if packed else tuple(column_mask(f, self.lanes, left, j) for j in range(vectors))
            # The weights of keys that are not there are zeros up to whole panels, as are their packed values.
            groups = self.count if way.group == 1 else f.mul(self.panels, kernel.width // way.group)
            segment = Segment(tuple(range(self.rows)), ((groups, 4, 1),))
            step = kernel.value_width * 4 if packed else values.row
            chains = 4 if self.rows * vectors <= 4 else 1
            tile = Tile(
                tuple(r * scratch.stride for r in range(self.rows)),
                vectors,
                (segment,),
                step,
                chains=chains,
                b_masks=masks,
                multiply=way,
            )
            start = f.mul(column // kernel.value_width, values.panel) if packed else column * way.column_bytes
            b = f.at(kernel.base["values"], f.add(start, f.mul(f.udiv(first, way.group), step)))
            earlier = self._carried(column, vectors) if carried else None
            sums = accumulate(f, self.isa, tile, "%scratch", b, earlier)
            if inverse is None:
                store_tile(f, self.isa, sums, self._carry(column))
            else:
                self._store(sums, column, left, inverse)

    def _value_way(self) -> Multiply:
        """How weights meet values."""
        form, dtype = self.kernel.config.form, self.kernel.operands["values"].dtype
        if form == "rows" and dtype is not dtypes.f32:
            return BF16_ROWS if dtype is dtypes.bf16 else F16_WEIGHTS
        return BF16_DOT if form == "bf16_dot" else F32

    def _carry(self, column: int) -> Store:
        row = self.kernel.scratch.result_row // 4
        at = self.f.at(self._slot(self.kernel.scratch.results, row * 4), column * 4)
        return Store(at, tuple(r * row for r in range(self.rows)))

    def _carried(self, column: int, vectors: int) -> list[list[str]]:
        f, scratch = self.f, self.kernel.scratch
        at = f.at(self._slot(scratch.results, scratch.result_row), column * 4)
        return [
            [
                load_vector(f, self.lanes, dtypes.f32, f.at(at, r * scratch.result_row + j * self.lanes * 4))
                for j in range(vectors)
            ]
            for r in range(self.rows)
        ]

    def _inverse_sums(self) -> list[str]:
        f = self.f
        inverses = []
        for r in range(self.rows):
            total = f.value(f"load float, ptr {self._slot(self.kernel.scratch.sums, 4, r)}")
            inverses.append(f.value(f"fdiv float {f32_constant(1.0)}, {total}"))
        return inverses

    def _store(self, sums: list[list[str]], column: int, left: int, inverse: list[str]) -> None:
        f, kernel = self.f, self.kernel
        out = kernel.operands["out"]
        scaled = [
            [f.value(f"fmul {self.vector} {x}, {splat(f, self.lanes, 'float', inverse[r])}") for x in row]
            for r, row in enumerate(sums)
        ]
        size = out.dtype.size_bytes
        at = f.at(kernel.base["out"], f.add(f.mul(self.row, out.row), column * size))
        rows = tuple(f.udiv(f.mul(r, out.row), size) for r in range(self.rows))
        store_tile(f, self.isa, scaled, Store(at, rows, out.dtype, left, self._rounded()))

    def _rounded(self) -> Scalar | None:
        """Results in the output's dtype, over argument(0)."""
        dtype = self.kernel.operands["out"].dtype
        return None if dtype is dtypes.f32 else cast(argument(0, dtypes.f32), dtype)

    def finish(self) -> None:
        """Carried results divided by the sums, stored."""
        kernel = self.kernel
        inverse = self._inverse_sums()
        for column in range(0, kernel.problem.value_width, kernel.value_width):
            left = min(kernel.problem.value_width - column, kernel.value_width)
            self._store(self._carried(column, -(-left // self.lanes)), column, left, inverse)


def _larger(f: Function, vector: str, lanes: int, a: str, b: str) -> str:
    greater = f.value(f"fcmp ogt {vector} {a}, {b}")
    return f.value(f"select <{lanes} x i1> {greater}, {vector} {a}, {vector} {b}")


def _sum(f: Function, vector: str, lanes: int, a: str, b: str) -> str:
    return f.value(f"fadd {vector} {a}, {b}")
