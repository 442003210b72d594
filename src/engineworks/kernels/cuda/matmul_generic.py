"""Products of any element types, layouts and sizes: outer products of columns and rows, one k after the other.

The floor under the tile kernels: integers of 16 bits and more, and outputs that are contiguous along a batch axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engineworks.codegen.triton.epilogue import emit_epilogue
from engineworks.codegen.triton.function import named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held, held_type, stored
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.ir.group import OperandKind
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.matmul import ways_of
from engineworks.kernels.cuda.matmul_finish import product_dtype
from engineworks.kernels.cuda.matmul_sides import extent, refuse_unloadable
from engineworks.kernels.cuda.matmul_text import Parameters, filled, guarded, scaled
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Step, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._product_types import sum_dtype

_TEXT = """
@triton.jit
def KERNEL({parameters}):
    tile = tl.program_id(0)
    {where}
    gdc_wait()
    gdc_launch_dependents()
    total = tl.zeros(({rows}, {columns}), {sum})
    for k in tl.range(0, {depth}, loop_unroll_factor=8):
        left = tl.load(left_at{left_guard}){left_cast}
        right = tl.load(right_at{right_guard}){right_cast}
        total += left[:, None] * right[None, :]
        left_at += {left_step}
        right_at += {right_step}
    {after}
"""
MAX_EFFORT = 5
_SMALL = 8
"""Up to here a size leaves most of a matrix unit idle."""
_LAUNCH_S = 2e-6
_MULTIPLIES_PER_S = 1.5e12
"""Of fp32 on a GPU of 132 processors; f64 and i64 take about as long, as loads decide."""


@dataclass(frozen=True, slots=True)
class GenericMatMulConfig:
    """A tile's rows and columns, and a program's warps."""

    rows: int
    columns: int
    warps: int = 4


class CudaMatMulGeneric:
    """matmul of any types that a kernel can load."""

    name = "cuda.matmul_generic"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        if work.anchor is None or work.anchor.name != "matmul":
            raise NoTactic("not a matmul")
        refuse_unloadable(work, isa)
        if effort < MAX_EFFORT and _is_for_matrix_units(work, isa):
            raise NoTactic("the tile kernels are faster where matrix units know the types")
        multiplies = typical(product([*work.outputs[0].shape, input_type(work, 0).shape[-1]]), 1 << 30)
        seconds = _LAUNCH_S + multiplies / _MULTIPLIES_PER_S * 132 / isa.processors
        tiles = ((32, 32), (16, 64), (64, 16), (1, 128), (128, 1), (64, 64))
        rows, columns = (typical(d) for d in work.outputs[0].shape[-2:])
        fitting = sorted(tiles, key=lambda t: (_padded(rows, t[0]) * _padded(columns, t[1]), tiles.index(t)))
        found = [
            Tactic(self.name, GenericMatMulConfig(*tile), seconds * (1 + 0.1 * place))
            for place, tile in enumerate(fitting)
        ]
        return found[: (1, 1, 2, 2, 3, 6)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        config = tactic.config
        assert isinstance(config, GenericMatMulConfig), tactic.text()
        kernel = _Kernel(work, config)
        text = filled(_TEXT, kernel.pieces())
        parameters = kernel.parameters
        function = named(
            "matmul_generic", text, parameters.arguments, warps=config.warps, stages=2, waits=True
        )
        step = Step(function.name, parameters.words, grid=(kernel.tiles,))
        return KernelImage({function.name: function}, frozenset(), (step,))


def _is_for_matrix_units(work: Workload, gpu: Gpu) -> bool:
    """Another family computes it, and faster."""
    sizes = [typical(d) for d in (*work.outputs[0].shape[-2:], input_type(work, 0).shape[-1])]
    try:
        ways_of(work, gpu)
    except NoTactic:
        return False
    return min(sizes) >= _SMALL


def _padded(count: int, block: int) -> int:
    return -(-max(count, 1) // block) * block


class _Kernel:
    """The text while it is put together: output axes are [batches …, row, column] in their logical order."""

    def __init__(self, work: Workload, config: GenericMatMulConfig) -> None:
        self.work, self.config, self.parameters = work, config, Parameters()
        self.left, self.right, self.out = input_type(work, 0), input_type(work, 1), work.outputs[0]
        rows, columns = self.out.shape[-2:]
        self.row_tiles, self.column_tiles = ceil_div(rows, config.rows), ceil_div(columns, config.columns)
        self.tiles = product([*self.out.shape[:-2], self.row_tiles, self.column_tiles])

    def pieces(self) -> dict[str, str]:
        work, config, parameters = self.work, self.config, self.parameters
        self.dtype = product_dtype(work)
        kind = held_type(sum_dtype(self.left.dtype, self.right.dtype, self.dtype))
        where, after = Lines(), Lines()
        self._emit_where(where)
        for name, type_, axis, index in (("left", self.left, -2, 0), ("right", self.right, -1, 1)):
            pointer = parameters.pointer(f"{name}_source", type_.dtype, Input(index))
            own = "row" if axis == -2 else "column"
            place = scaled(own, type_.strides()[axis], parameters, extent(type_))
            where.line(f"{name}_at = {pointer} + {self._first(type_)}{place}")
        self._emit_store(after)
        return {
            "where": str(where), "after": str(after), "rows": str(config.rows), "columns": str(config.columns),
            "sum": kind, "depth": parameters.size(self.left.shape[-1]),
            "left_guard": guarded("row_inside", other="0"), "right_guard": guarded("column_inside", other="0"),
            "left_cast": f".to({kind})", "right_cast": f".to({kind})",
            "left_step": parameters.size(self.left.strides()[-1]),
            "right_step": parameters.size(self.right.strides()[-2]), "parameters": parameters.parameters,
        }  # fmt: skip

    def _emit_where(self, lines: Lines) -> None:
        parameters, config = self.parameters, self.config
        rows, columns = parameters.size(self.row_tiles), parameters.size(self.column_tiles)
        lines.line(f"column = tile % {columns} * {config.columns} + tl.arange(0, {config.columns})")
        lines.line(f"row = tile // {columns} % {rows} * {config.rows} + tl.arange(0, {config.rows})")
        lines.line(f"row_inside = row < {parameters.size(self.out.shape[-2])}")
        lines.line(f"column_inside = column < {parameters.size(self.out.shape[-1])}")
        lines.line(f"batch = tile // ({rows} * {columns})")
        for axis in reversed(range(self.out.rank - 2)):
            size = parameters.size(self.out.shape[axis])
            lines.line(f"index{axis} = batch % {size}\nbatch = batch // {size}")

    def _first(self, type_: TensorType) -> str:
        """'… + ' to the matrix of the batch; axes of one element are shared."""
        missing = self.out.rank - type_.rank
        terms = [
            f"index{axis + missing}.to(tl.int64) * {self.parameters.size(stride)} + "
            for axis, stride in enumerate(type_.strides()[:-2])
            if type_.shape[axis] != 1
        ]
        return "".join(terms)

    def _emit_store(self, lines: Lines) -> None:
        out, epilogue = self.out, self.work.epilogue
        strides: tuple[Dim, ...] = out.strides()
        reach = extent(out)
        row = scaled("row[:, None]", strides[-2], self.parameters, reach)
        column = scaled("column[None, :]", strides[-1], self.parameters, reach)
        lines.line(f"place = {self._first(out)}{row} + {column}")
        guard = guarded("row_inside[:, None]", "column_inside[None, :]")
        lines.line(f"finished = total.to({held_type(self.dtype)})")

        def load(number: int, kind: OperandKind) -> str:
            operand = self.work.inputs[self.work.anchor_inputs + number]
            assert operand is not None, "epilogue operands are never omitted"
            dtype, index = operand.type.dtype, self.work.anchor_inputs + number
            base = self.parameters.pointer(f"e{index}", dtype, Input(index))
            if operand.type.count == 1:
                kind = "scalar"
            match kind:
                case "full":
                    return lines.let(held(f"tl.load({base} + place{guard})", dtype))
                case "channel":
                    return lines.let(held(self._channel(base), dtype))
                case _:
                    return lines.let(held(f"tl.load({base})", dtype))

        value = emit_epilogue(lines, epilogue, "finished", load)
        y = self.parameters.pointer("y", out.dtype, Output(0))
        lines.line(f"tl.store({y} + place, {stored(value, out.dtype)}{guard})")

    def _channel(self, base: str) -> str:
        """An operand along the innermost axis in memory."""
        layout = self.out.layout
        inner = layout.order[-1] if layout else self.out.rank - 1
        if inner == self.out.rank - 1:
            return f"tl.load({base} + column, mask=column_inside)[None, :]"
        if inner == self.out.rank - 2:
            return f"tl.load({base} + row, mask=row_inside)[:, None]"
        return f"tl.load({base} + index{inner})"


PROVIDERS = (CudaMatMulGeneric(),)
