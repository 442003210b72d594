"""Products by tiles: one program a tile of the output, or a part of its depth, multiplied by the matrix units."""

from __future__ import annotations

from typing import Literal

from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cuda.matmul_arithmetic import Arithmetic
from engineworks.kernels.cuda.matmul_corrections import Correction, Normalised, Unsigned, normalising_epsilon
from engineworks.kernels.cuda.matmul_finish import Finish
from engineworks.kernels.cuda.matmul_sides import Side, neutral
from engineworks.kernels.cuda.matmul_text import Parameters, box_of, divides, filled, guarded, scaled
from engineworks.kernels.cuda.matmul_tiling import TileConfig, Tiling, emit_ends, emit_first
from engineworks.kernels.tactic import Output, Packed, TensorMap, Workspace
from engineworks.kernels.workload import Workload

_TILE = """
@triton.jit
def KERNEL({parameters}):
    index = tl.program_id(0)
    {where}
    {before}
    gdc_wait()
    gdc_launch_dependents()
    {early}
    total = tl.zeros(({shape}), {sum})
    {zero}
    for k in range({first}, {last}, {depth}):
        {load}
        total = tl.dot({factors}, total{options})
        {advance}
    {after}
"""
_PERSISTENT = """
@triton.jit
def KERNEL({parameters}):
    gdc_wait()
    gdc_launch_dependents()
    for index in tl.range(tl.program_id(0), {tiles}, tl.num_programs(0), flatten=True):
        {where}
        total = tl.zeros(({shape}), {sum})
        {zero}
        for k in range({first}, {last}, {depth}):
            {load}
            total = tl.dot({factors}, total{options})
        {before}
        {early}
        {after}
"""
MOST_EARLY = 32
"""Elements a thread of a 'full' operand that are loaded before the sums: their registers are taken all the while."""
MOST_PREFETCHED = 1 << 17
"""Bytes of weights that a program asks for while the kernel ahead still runs."""


MOST_PREFETCHING = 264
"""Programs that do: of many, most start when the kernel ahead has long ended."""


class TileKernel:
    """The text of one tile kernel while it is put together."""

    def __init__(
        self, work: Workload, problem: Problem, config: TileConfig, arithmetic: Arithmetic, left: Side, right: Side,
        sums: Packed | None = None,
    ) -> None:  # fmt: skip
        self.work, self.problem, self.config, self.arithmetic = work, problem, config, arithmetic
        self.left, self.right = left, right
        self.parameters, self.tiling = Parameters(), Tiling(problem, config)
        self.corrections: list[Correction] = []
        if arithmetic.operand is dtypes.i8 and dtypes.u8 in (left.dtype, right.dtype):
            self.corrections.append(Unsigned(problem, config, self.parameters, left, right, sums))
        epsilon = normalising_epsilon(work)
        if epsilon is not None:
            assert sums is not None, "the sums of the weights' columns are packed"
            self.corrections.append(Normalised(work, problem, config, self.parameters, left, sums, epsilon))

    def function(self) -> KernelFunction:
        """The kernel; its words are then in `parameters`."""
        config = self.config
        pieces = self._pieces()
        text = filled(_PERSISTENT if config.persistent else _TILE, pieces)
        return named(
            "matmul", text, self.parameters.arguments, warps=config.warps, stages=config.stages, waits=True
        )

    def _pieces(self) -> dict[str, str]:
        config, tiling = self.config, self.tiling
        where, before, early, zero, load, advance, after = (Lines() for _ in range(7))
        indices = self._emit_where(where)
        out_first = emit_first(
            where, self.parameters, "out_first", indices, tuple(b.out for b in self.problem.batches)
        )
        finish = Finish(
            self.work, self.problem, self.parameters, tiling.block(out_first), store_text=self._store(indices)
        )
        if config.parts == 1 or config.uncut:
            finish.load_constants(before)
        if not config.persistent:
            self._emit_prefetch(before, indices)
        first, last = self._range(where)
        left = self._emit_factor(where, load, advance, "left", self.left, indices)
        right = self._emit_factor(where, load, advance, "right", self.right, indices)
        if config.parts == 1 and self._loads_early():
            finish.load_all(early)
        elif config.parts == 1 or config.uncut:
            finish.load_shared(early)
        for correction in self.corrections:
            correction.start(before, zero, finish.block)
            correction.step(load)
        self._emit_after(after, finish, last)
        shape = (config.columns, config.rows) if config.turned else (config.rows, config.columns)
        imprecise = f", max_num_imprecise_acc={config.depth}" if self.arithmetic.precision == "fp8" else ""
        return {
            "where": str(where), "before": str(before), "early": str(early), "zero": str(zero),
            "load": str(load),
            "advance": str(advance), "after": str(after), "shape": f"{shape[0]}, {shape[1]}",
            "sum": _TYPES[self.arithmetic.sum.name], "first": first, "last": last, "depth": str(config.depth),
            "factors": f"{right}, {left}" if config.turned else f"{left}, {right}",
            "options": self.arithmetic.options + imprecise, "tiles": self.parameters.size(tiling.count),
            "parameters": self.parameters.parameters,
        }  # fmt: skip

    # -- where a program works ----------------------------------------------------------------------------------
    def _emit_where(self, lines: Lines) -> tuple[str, ...]:
        config = self.config
        if config.parts == 1:
            lines.line("tile = index")
        elif config.uncut == 0:
            lines.line(f"tile = index // {config.parts}\npart = index % {config.parts}")
        else:
            rest = f"(index - {config.uncut})"
            lines.line(f"is_cut = index >= {config.uncut}")
            lines.line(f"tile = tl.where(is_cut, {config.uncut} + {rest} // {config.parts}, index)")
            lines.line(f"part = tl.where(is_cut, {rest} % {config.parts}, 0)")
        indices = self.tiling.emit(lines, self.parameters)
        lines.line(f"row = row_tile * {config.rows} + tl.arange(0, {config.rows})")
        lines.line(f"column = column_tile * {config.columns} + tl.arange(0, {config.columns})")
        emit_ends(lines, self.parameters, self.problem, self.tiling.block(""))
        return indices

    def _range(self, lines: Lines) -> tuple[str, str]:
        """Texts of the first k and of the end, for the program's part."""
        depth = self.parameters.size(self.problem.depth)
        if self.config.parts == 1:
            return "0", depth
        part_depth = self.parameters.size(self.tiling.part_depth)
        lines.line(f"first_k = part * {part_depth}\nlast_k = min(first_k + {part_depth}, {depth})")
        if self.config.uncut:
            lines.line(f"last_k = tl.where(is_cut, last_k, {depth})")
        return "first_k", "last_k"

    def _emit_prefetch(self, lines: Lines, indices: tuple[str, ...]) -> None:
        """Weights are asked for while the kernels ahead still run: a tile's lie one after the other."""
        side, config = self.right, self.config
        programs = self.tiling.programs
        if not side.whole or not isinstance(side.outer, int) or not isinstance(programs, int):
            return
        if config.uncut or programs > MOST_PREFETCHING:
            return
        size = config.columns * side.outer * side.dtype.size_bytes
        if size > MOST_PREFETCHED or size % 16:
            return
        pointer = self.parameters.pointer("right_source", side.dtype, side.word)
        start = self._start(lines, "prefetched", side, indices)
        lines.line(f"prefetch({pointer} + {start}column_tile * {config.columns * side.outer}, {size})")

    def _start(self, lines: Lines, name: str, side: Side, indices: tuple[str, ...]) -> str:
        """'… + ' to a side's matrix, and its part, of the program."""
        first = emit_first(lines, self.parameters, f"{name}_first", indices, side.batches)
        start = f"{first} + " if first else ""
        if self.config.parts > 1 and side.part is not None:
            start += f"part * {side.part} + "
        return start

    # -- the factors --------------------------------------------------------------------------------------------
    def _emit_factor(
        self,
        where: Lines,
        load: Lines,
        advance: Lines,
        name: Literal["left", "right"],
        side: Side,
        indices: tuple[str, ...],
    ) -> str:
        """Text of one factor's block, of which [outer, depth] or [depth, outer] is wanted."""
        outer_first = (name == "left") != self.config.turned
        if self.config.maps:
            loaded = self._mapped(name, side, indices, outer_first=outer_first)
        else:
            loaded = self._emit_pointers(where, load, advance, name, side, indices, outer_first=outer_first)
        load.line(f"{name} = {loaded}")
        if side.dtype is dtypes.u8 and self.arithmetic.operand is dtypes.i8:
            load.line(f"{name} = ({name} ^ 128).to(tl.int8, bitcast=True)")
        elif side.dtype is not self.arithmetic.operand:
            load.line(f"{name} = {name}.to({_TYPES[self.arithmetic.operand.name]})")
        return name

    def _emit_pointers(
        self,
        where: Lines,
        load: Lines,
        advance: Lines,
        name: str,
        side: Side,
        indices: tuple[str, ...],
        *,
        outer_first: bool,
    ) -> str:
        parameters, config = self.parameters, self.config
        index, block = ("row", config.rows) if name == "left" else ("column", config.columns)
        outer_axis, depth_axis = ("[:, None]", "[None, :]") if outer_first else ("[None, :]", "[:, None]")
        start = self._start(where, name, side, indices)
        along = "k_range"
        if config.parts > 1 and side.part is None:
            along = "(first_k + k_range)"
        if name == "left":
            where.line(f"k_range = tl.arange(0, {config.depth})")
        outer = scaled(f"{index}{outer_axis}", side.outer, parameters, side.reach)
        depth = scaled(f"{along}{depth_axis}", side.depth, parameters, side.reach)
        base = parameters.pointer(f"{name}_source", side.dtype, side.word)
        where.line(f"{name}_at = {base} + {start}({outer} + {depth})")
        step = parameters.size(side.depth)
        advance.line(f"{name}_at += {config.depth if step == '1' else f'{config.depth} * {step}'}")
        ends = [] if side.whole else [("" if divides(block, side.size) else f"{index}_inside{outer_axis}")]
        if not side.whole and not divides(config.depth, self.problem.depth):
            if "k_inside" not in str(load):
                load.line(f"k_inside = k + k_range < {parameters.size(self.problem.depth)}")
            ends.append(f"k_inside{depth_axis}")
        other = "0.0" if side.dtype.is_float else str(neutral(side.dtype))
        return f"tl.load({name}_at{guarded(*ends, other=other)})"

    def _mapped(self, name: str, side: Side, indices: tuple[str, ...], *, outer_first: bool) -> str:
        """Text of a block that a tensor map copies; what lies beyond the tensor's end comes as zeros."""
        config = self.config
        tile, count = ("row_tile", config.rows) if name == "left" else ("column_tile", config.columns)
        used = [
            (i, b.size, s)
            for i, b, s in zip(indices, self.problem.batches, side.batches, strict=True)
            if s != 0
        ]
        sizes, strides, at = [u[1] for u in used], [u[2] for u in used], [u[0] for u in used]
        k, depth = "k", self.problem.depth
        if side.part is not None and config.parts > 1:
            sizes.append(config.parts)
            strides.append(side.part)
            at.append("part")
            k, depth = "k - first_k", side.outer
        contiguous_depth = side.depth == 1
        pair = [(side.size, side.outer, f"{tile} * {count}", count), (depth, side.depth, k, config.depth)]
        for size, stride, place, _ in pair if contiguous_depth else reversed(pair):
            sizes.append(size)
            strides.append(stride)
            at.append(place)
        block = tuple(p[3] for p in (pair if contiguous_depth else reversed(pair)))
        ones = (1,) * (len(sizes) - 2)
        described = TensorMap(
            side.word, side.dtype, tuple(sizes), tuple(strides), box_of((*ones, *block), side.dtype)
        )
        map_ = self.parameters.map(f"{name}_map", described, (*ones, *block))
        text = f"{map_}.load([{', '.join(at)}])" + (f".reshape({block[0]}, {block[1]})" if ones else "")
        return text if contiguous_depth == outer_first else f"{text}.T"

    # -- the end ------------------------------------------------------------------------------------------------
    def _loads_early(self) -> bool:
        config = self.config
        return not config.persistent and config.rows * config.columns <= MOST_EARLY * 32 * config.warps

    def _emit_after(self, lines: Lines, finish: Finish, last: str) -> None:
        config = self.config
        if config.turned:
            lines.line("total = total.T")
        for correction in self.corrections:
            correction.correct(lines)
        if config.parts == 1:
            finish.store(lines, "total")
            return
        if config.uncut == 0:
            self._emit_partial(lines, "index")
            return
        with lines.block("if is_cut:"):
            self._emit_partial(lines, f"(index - {config.uncut})")
        with lines.block("else:"):
            finish.store(lines, "total")

    def _store(self, indices: tuple[str, ...]) -> str:
        """Text of the output's tensor map storing a tile; what lies beyond the output's end is left out."""
        if not self.config.mapped_store:
            return ""
        problem, out = self.problem, self.work.outputs[0].dtype
        sizes = (*(b.size for b in problem.batches), problem.rows, problem.columns)
        strides = (*(b.out for b in problem.batches), problem.out_row, 1)
        block = (*(1,) * len(indices), self.config.rows, self.config.columns)
        described = TensorMap(Output(0), out, sizes, strides, box_of(block, out))
        map_ = self.parameters.map("y_map", described, block)
        at = [*indices, f"row_tile * {self.config.rows}", f"column_tile * {self.config.columns}"]
        value = f"(VALUE).reshape({', '.join(map(str, block))})" if indices else "VALUE"
        return f"{map_}.store([{', '.join(at)}], {value})"

    def _emit_partial(self, lines: Lines, number: str) -> None:
        """The sums of a part, as they are, to its place in the workspace."""
        config = self.config
        pointer = self.parameters.pointer("partial", self.arithmetic.sum, Workspace(0))
        inner = f"tl.arange(0, {config.rows})[:, None] * {config.columns} + tl.arange(0, {config.columns})[None, :]"
        lines.line(f"here = {pointer} + {number}.to(tl.int64) * {config.rows * config.columns} + {inner}")
        lines.line("tl.store(here, total)")


_TYPES = {
    "f64": "tl.float64", "f32": "tl.float32", "f16": "tl.float16", "bf16": "tl.bfloat16", "i8": "tl.int8",
    "i32": "tl.int32", "f8e4m3": "tl.float8e4nv", "f8e5m2": "tl.float8e5",
}  # fmt: skip
"""Element types of operands and sums."""
