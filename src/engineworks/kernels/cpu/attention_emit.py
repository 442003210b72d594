"""The attention kernel: a task is a group of query rows of one head; scores live in thread-private scratch only.

For each block of keys and each tile of rows: scores = q kᵀ * scale + mask (keys packed in panels, running maxima on the
way), then e = exp(scores - maximum) row by row, then e v. With several blocks of keys the result is rescaled whenever a
maximum grows (online softmax, Milakov and Gimelshein 2018), so sequences of any length need the same scratch.
"""
from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.llvm import math as vector_math
from engineworks.codegen.llvm.function import Function, Isa, Size, f32_constant
from engineworks.codegen.llvm.loads import iota_below, load_vector, splat, store_vector
from engineworks.codegen.llvm.tile import Segment, Store, Tile, accumulate, column_mask, store_tile
from engineworks.codegen.llvm.vector import Vector
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.kernels.cpu.attention_problem import AttentionProblem, Matrix
from engineworks.kernels.cpu.matmul_rows import row_tiles
from engineworks.kernels.cpu.matmul_words import Words, finish, kernel_function
from engineworks.kernels.tactic import Step

_MINUS_INFINITY = f"splat (float {f32_constant(float('-inf'))})"
_SPREAD = 16
"""Elements between the ends of score rows, so that rows do not lie a power of two apart."""


@dataclass(frozen=True, slots=True)
class AttentionConfig:
    """How attention is tiled.

    Attributes:
        rows, vectors: the register tile of both products.
        keys: of one block; a multiple of the tile's columns.
        group: row tiles of one task; they share each block of keys while it is near.
    """

    rows: int
    vectors: int = 2
    keys: int = 512
    group: int = 1


@dataclass(frozen=True, slots=True)
class Scratch:
    """Byte offsets of the thread's scratch: scores [rows][stride], and for each row of a group a vector of maxima,
    the maximum, the sum of exponentials, and the unscaled result."""

    stride: int
    peaks: int
    maxima: int
    sums: int
    results: int
    result_row: int
    size_bytes: int


def scratch_of(problem: AttentionProblem, config: AttentionConfig, isa: Isa) -> Scratch:
    """The layout; the results are there only when keys come in several blocks."""
    stride = (config.keys + _SPREAD) * 4
    grouped = config.rows * config.group
    vector = isa.lanes * 4
    peaks = _aligned(config.rows * stride)
    maxima = peaks + config.rows * vector
    sums = _aligned(maxima + grouped * 4)
    results = _aligned(sums + grouped * 4)
    result_row = _aligned(problem.value_width * 4) if several_blocks(problem, config) else 0
    return Scratch(stride, peaks, maxima, sums, results, result_row, results + grouped * result_row)


def several_blocks(problem: AttentionProblem, config: AttentionConfig) -> bool:
    return not isinstance(problem.keys, int) or problem.keys > config.keys


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def emit_attention(problem: AttentionProblem, config: AttentionConfig, isa: Isa) -> tuple[str, str, frozenset[str], Step]:
    """(symbol, definition, declarations, the launch)."""
    kernel = AttentionKernel(problem, config, isa)
    with kernel.f.loop("%lo", "%hi") as task:
        kernel.task(task)
    symbol, text = finish(kernel.f, "attention")
    tasks = product([*(b for b in problem.batch), problem.heads, kernel.group_count])
    return symbol, text, frozenset(kernel.f.declarations), Step(symbol, tuple(kernel.words.words), tasks)


class AttentionKernel:
    """Emission state."""

    def __init__(self, problem: AttentionProblem, config: AttentionConfig, isa: Isa) -> None:
        self.problem, self.config, self.isa = problem, config, isa
        self.lanes, self.width = isa.lanes, config.vectors * isa.lanes
        self.f: Function = kernel_function()
        self.words = words = Words(self.f)
        self.scratch = scratch_of(problem, config, isa)
        self.online = several_blocks(problem, config)
        self.tiling = row_tiles(problem.queries, config.rows)
        self.group_count: Dim = ceil_div(self.tiling.count, config.group)
        self.operands = {n: _Bound(words, m) for n, m in problem.matrices().items()}
        self.queries, self.keys, self.depth = map(words.size, (problem.queries, problem.keys, problem.depth))
        self.batch, self.heads = [words.size(b) for b in problem.batch], words.size(problem.heads)
        self.groups, self.tiles = words.size(self.group_count), words.size(self.tiling.count)
        self.past = words.size(problem.past)

    # -- control ----------------------------------------------------------------------------------------------
    def task(self, task: str) -> None:
        f, config = self.f, self.config
        group, rest = f.urem(task, self.groups), f.udiv(task, self.groups)
        head, rest = f.urem(rest, self.heads), f.udiv(rest, self.heads)
        index: list[Size] = []
        for size in reversed(self.batch):
            index.insert(0, f.urem(rest, size))
            rest = f.udiv(rest, size)
        self.base = {n: o.at(f, index, f.udiv(head, self.problem.sharing if n in ("keys", "values") else 1))
                     for n, o in self.operands.items()}
        first = f.mul(group, config.group)
        last = f.smin(f.add(first, config.group), self.tiles)
        if not self.online:
            with f.loop(first, last) as tile:
                self.tiling.emit(f, tile, self.queries, lambda size, row: self._whole(size, row))
            return
        self._blocks(first, last)

    def _whole(self, rows: int, row: Size) -> None:
        """One tile of rows against all keys."""
        tile = _RowTile(self, rows, row, 0)
        tile.scores(0, self._limit(row, rows))
        tile.weights(first=True)
        tile.results(0, carried=False)

    def _blocks(self, first: Size, last: Size) -> None:
        """Keys block by block, all row tiles of the group for each."""
        f, config = self.f, self.config
        if self.tiling.split:
            (size, count), *_ = self.tiling.split
            other = self.tiling.split[-1][0]
            before = f.add(f.mul(first, other), f.mul(f.smin(first, count), size - other))
        else:
            before = f.mul(first, config.rows)
        self._clear()
        with f.loop(0, self.keys, config.keys) as block, f.loop(first, last) as number:
            def part(size: int, row: Size) -> None:
                limit = self._limit(row, size)
                with f.when(f.compare("slt", block, limit)):
                    tile = _RowTile(self, size, row, f.sub(row, before))
                    tile.scores(block, f.smin(f.sub(limit, block), config.keys))
                    tile.weights(first=False)
                    tile.results(block, carried=True)

            self.tiling.emit(f, number, self.queries, part)
        with f.loop(first, last) as number:
            self.tiling.emit(f, number, self.queries,
                             lambda size, row: _RowTile(self, size, row, f.sub(row, before)).finish())

    def _clear(self) -> None:
        """No maximum, no sum, no result yet."""
        f, scratch = self.f, self.scratch
        rows = self.config.rows * self.config.group
        with f.loop(0, rows) as row:
            f.line(f"store float {f32_constant(float('-inf'))}, ptr {f.at('%scratch', f.add(scratch.maxima, f.mul(row, 4)))}")
            f.line(f"store float 0.0, ptr {f.at('%scratch', f.add(scratch.sums, f.mul(row, 4)))}")
        with f.loop(0, rows * scratch.result_row, self.lanes * 4) as at:
            pointer = f.at("%scratch", f.add(scratch.results, at))
            f.line(f"store <{self.lanes} x float> zeroinitializer, ptr {pointer}, align 4")

    def _limit(self, row: Size, rows: int) -> Size:
        """How many keys some row of the tile may see."""
        if not self.problem.causal:
            return self.keys
        return self.f.smin(self.keys, self.f.add(self.f.add(self.past, row), rows))


class _Bound:
    """A matrix's words: pointer and strides in bytes."""

    def __init__(self, words: Words, matrix: Matrix) -> None:
        self.pointer = words.pointer(matrix.word)
        self.batch = [words.size(s * 4) for s in matrix.batch]
        self.head, self.row, self.column = (words.size(s * 4) for s in (matrix.head, matrix.row, matrix.column))
        self.panel = words.size(matrix.panel * 4)

    def at(self, f: Function, index: list[Size], head: Size) -> str:
        offset = f.mul(head, self.head)
        for i, stride in zip(index, self.batch, strict=True):
            offset = f.add(offset, f.mul(i, stride))
        return f.at(self.pointer, offset)


class _RowTile:
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
        query, keys = kernel.operands["queries"], kernel.operands["keys"]
        self.panels = f.ceil_div(count, kernel.width)
        for r in range(self.rows):
            f.line(f"store {self.vector} {_MINUS_INFINITY}, ptr {f.at('%scratch', scratch.peaks + r * self.lanes * 4)}, align 4")
        a = f.at(kernel.base["queries"], f.mul(self.row, query.row))
        segment = Segment(tuple(range(self.rows)), ((kernel.depth, query.column, 1),))
        tile = Tile(tuple(f.mul(r, query.row) for r in range(self.rows)), kernel.config.vectors, (segment,),
                    kernel.width * 4, b_align=self.lanes * 4)
        first_panel = f.udiv(first, kernel.width)
        with f.loop(0, self.panels) as panel:
            b = f.at(kernel.base["keys"], f.mul(f.add(first_panel, panel), keys.panel))
            sums = accumulate(f, self.isa, tile, a, b)
            column = f.mul(panel, kernel.width)
            seen = f.sub(count, column)
            if kernel.problem.causal:
                seen = f.smin(seen, f.sub(f.add(f.add(kernel.past, self.row), 1), f.add(first, column)))
            whole = isinstance(count, int) and count % kernel.width == 0 and not kernel.problem.causal
            if whole:
                self._keep_scores(sums, first, column, None)
            else:
                f.branch(f.compare("sge", seen, kernel.width), lambda: self._keep_scores(sums, first, column, None),
                         lambda: self._keep_scores(sums, first, column, f.sub(count, column)))

    def _keep_scores(self, sums: list[list[str]], first: Size, column: Size, left: Size | None) -> None:
        """Scale, mask, note the maxima, store. `left`: keys left from this column on, None when all count."""
        f, kernel, scratch = self.f, self.kernel, self.kernel.scratch
        for r in range(self.rows):
            peak_at = f.at("%scratch", scratch.peaks + r * self.lanes * 4)
            peak = f.value(f"load {self.vector}, ptr {peak_at}, align 4")
            for j in range(kernel.config.vectors):
                value = self._scaled(sums[r][j], r, first, f.add(column, j * self.lanes), left, j)
                larger = f.value(f"fcmp ogt {self.vector} {value}, {peak}")
                peak = f.value(f"select <{self.lanes} x i1> {larger}, {self.vector} {value}, {self.vector} {peak}")
                at = f.at("%scratch", f.add(r * scratch.stride + j * self.lanes * 4, f.mul(column, 4)))
                store_vector(f, self.lanes, dtypes.f32, at, value)
            f.line(f"store {self.vector} {peak}, ptr {peak_at}, align 4")

    def _scaled(self, product_: str, r: int, first: Size, column: Size, left: Size | None, j: int) -> str:
        f, kernel = self.f, self.kernel
        limit = None if left is None else column_mask(f, self.lanes, left, j)
        scale = f"splat (float {f32_constant(kernel.problem.scale)})"
        mask = kernel.operands.get("mask")
        if mask is None:
            value = f.value(f"fmul {self.vector} {product_}, {scale}")
        else:
            row = f.mul(f.add(self.row, r), mask.row)
            at = f.at(kernel.base["mask"], f.add(row, f.mul(f.add(first, column), mask.column)))
            added = load_vector(f, self.lanes, dtypes.f32, at, limit, broadcast=mask.column == 0)
            value = f.call(self.vector, f"llvm.fma.v{self.lanes}f32", f"{self.vector} {product_}", f"{self.vector} {scale}",
                           f"{self.vector} {added}")
        if left is None:
            return value
        visible = limit or ""
        if kernel.problem.causal:
            reach = f.sub(f.add(f.add(kernel.past, self.row), r + 1), f.add(first, column))
            reach = f.smin(reach, f.sub(left, j * self.lanes))
            visible = iota_below(f, self.lanes, reach)
        if not visible:
            return value
        return f.value(f"select <{self.lanes} x i1> {visible}, {self.vector} {value}, {self.vector} {_MINUS_INFINITY}")

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
        nothing = f.value(f"fcmp oeq {self.vector} {new}, {_MINUS_INFINITY}")
        safe = f.value(f"select <{self.lanes} x i1> {nothing}, {self.vector} zeroinitializer, {self.vector} {new}")
        return safe, vector_math.exp(blank.of(old) - blank.of(safe))

    def _exponentials(self, peak: Vector, r: Size) -> Vector:
        """Σ e**(score - peak) of a row, which is written over the scores."""
        f, kernel, scratch = self.f, self.kernel, self.kernel.scratch
        sums = [f.variable(self.vector, "zeroinitializer") for _ in range(kernel.config.vectors)]
        row = f.at("%scratch", f.mul(r, scratch.stride))
        with f.loop(0, f.mul(self.panels, kernel.width * 4), kernel.width * 4) as at:
            for j, total in enumerate(sums):
                pointer = f.at(f.at(row, at), j * self.lanes * 4)
                value = vector_math.exp(peak.of(load_vector(f, self.lanes, dtypes.f32, pointer)) - peak)
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

    def _across(self, value: str, combine) -> str:
        """All lanes combined, in every lane."""
        step = self.lanes // 2
        while step:
            order = ", ".join(f"i32 {k ^ step}" for k in range(self.lanes))
            other = self.f.value(f"shufflevector {self.vector} {value}, {self.vector} poison, <{self.lanes} x i32> <{order}>")
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
        for column in range(0, kernel.problem.value_width, kernel.width):
            left = min(kernel.problem.value_width - column, kernel.width)
            vectors = -(-left // self.lanes)
            masks = () if packed else tuple(column_mask(f, self.lanes, left, j) for j in range(vectors))
            segment = Segment(tuple(range(self.rows)), ((self.count, 4, 1),))
            step = kernel.width * 4 if packed else values.row
            tile = Tile(tuple(r * scratch.stride for r in range(self.rows)), vectors, (segment,), step, b_masks=masks)
            start = f.mul(column // kernel.width, values.panel) if packed else column * 4
            b = f.at(kernel.base["values"], f.add(start, f.mul(first, step)))
            earlier = self._carried(column, vectors) if carried else None
            sums = accumulate(f, self.isa, tile, "%scratch", b, earlier)
            if inverse is None:
                store_tile(f, self.isa, sums, self._carry(column))
            else:
                self._store(sums, column, left, inverse)

    def _carry(self, column: int) -> Store:
        row = self.kernel.scratch.result_row // 4
        at = self.f.at(self._slot(self.kernel.scratch.results, row * 4), column * 4)
        return Store(at, tuple(r * row for r in range(self.rows)))

    def _carried(self, column: int, vectors: int) -> list[list[str]]:
        f, scratch = self.f, self.kernel.scratch
        at = f.at(self._slot(scratch.results, scratch.result_row), column * 4)
        return [[load_vector(f, self.lanes, dtypes.f32, f.at(at, r * scratch.result_row + j * self.lanes * 4))
                 for j in range(vectors)] for r in range(self.rows)]

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
        scaled = [[f.value(f"fmul {self.vector} {x}, {splat(f, self.lanes, 'float', inverse[r])}") for x in row]
                  for r, row in enumerate(sums)]
        at = f.at(kernel.base["out"], f.add(f.mul(self.row, out.row), column * 4))
        rows = tuple(f.udiv(f.mul(r, out.row), 4) for r in range(self.rows))
        store_tile(f, self.isa, scaled, Store(at, rows, columns=left))

    def finish(self) -> None:
        """Carried results divided by the sums, stored."""
        kernel = self.kernel
        inverse = self._inverse_sums()
        for column in range(0, kernel.problem.value_width, kernel.width):
            left = min(kernel.problem.value_width - column, kernel.width)
            self._store(self._carried(column, -(-left // self.lanes)), column, left, inverse)


def _larger(f: Function, vector: str, lanes: int, a: str, b: str) -> str:
    greater = f.value(f"fcmp ogt {vector} {a}, {b}")
    return f.value(f"select <{lanes} x i1> {greater}, {vector} {a}, {vector} {b}")


def _sum(f: Function, vector: str, lanes: int, a: str, b: str) -> str:
    return f.value(f"fadd {vector} {a}, {b}")
