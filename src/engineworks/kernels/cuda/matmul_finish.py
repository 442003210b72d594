"""The end of a product's kernel: the pointwise work behind it on the sums in registers, and the store."""

from __future__ import annotations

from dataclasses import dataclass, field

from engineworks.codegen.triton.casts import rounded
from engineworks.codegen.triton.epilogue import accumulated_dtype, emit_epilogue
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held, held_type, stored
from engineworks.core.dtypes import DType
from engineworks.ir.group import OperandKind
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cuda.matmul_sides import extent
from engineworks.kernels.cuda.matmul_text import Parameters, guarded, scaled
from engineworks.kernels.tactic import Input, Output
from engineworks.kernels.workload import Operand, Workload, input_type
from engineworks.ops._product_types import matmul_dtype


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block of sums lies in the output, as text.

    Attributes:
        row, column: names of their numbers, blocks of one axis or numbers.
        row_axis, column_axis: what makes them blocks that broadcast with the sums: '[:, None]'; '' leaves them.
        rows_end, columns_end: conditions on them, '' where they always hold.
        first: elements to the first of the block's matrix, '' for none.
    """

    row: str
    column: str
    row_axis: str = "[:, None]"
    column_axis: str = "[None, :]"
    rows_end: str = ""
    columns_end: str = ""
    first: str = ""

    @property
    def guard(self) -> str:
        """Holds a load or store to the output's elements."""
        return guarded(
            self.rows_end and f"{self.rows_end}{self.row_axis}",
            self.columns_end and f"{self.columns_end}{self.column_axis}",
        )


@dataclass(slots=True)
class Finish:
    """What is done with a block of sums of one workload's kernel; writes it in pieces, each operand once.

    Attributes:
        suffix: tells its names from those of other blocks in the same kernel.
        store_text: the call that stores the block, with VALUE in place of it, where a tensor map does.
    """

    work: Workload
    problem: Problem
    parameters: Parameters
    block: Block
    suffix: str = ""
    store_text: str = ""
    _loaded: dict[int, str] = field(default_factory=dict)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The epilogue's."""
        return self.work.inputs[self.work.anchor_inputs :]  # type: ignore[return-value]

    def load_constants(self, lines: Lines) -> None:
        """What no kernel writes: may stand before the wait for the kernels ahead."""
        for k, operand in enumerate(self.operands):
            if operand.constant and self._kind(k) != "full":
                self._load(lines, k)

    def load_shared(self, lines: Lines) -> None:
        """The other operands that are as long as a row, or one element."""
        for k in range(len(self.operands)):
            if self._kind(k) != "full":
                self._load(lines, k)

    def load_all(self, lines: Lines) -> None:
        """Every operand, so that they are on their way while products are summed."""
        for k in range(len(self.operands)):
            self._load(lines, k)

    def share(self, other: Finish) -> None:
        """Take what another block of the same columns has loaded for all rows."""
        self._loaded |= {k: name for k, name in other._loaded.items() if k >= 0 and self._kind(k) != "full"}

    def store(self, lines: Lines, total: str) -> None:
        """The finished block to the output."""
        dtype = product_dtype(self.work)
        kind = held_type(accumulated_dtype(self.work.epilogue, dtype))
        finished = f"finished{self.suffix}"
        lines.line(f"{finished} = {total}.to({kind})")
        types = [o.type.dtype for o in self.operands]
        value = emit_epilogue(
            lines, self.work.epilogue, finished, lambda k, _: held(self._load(lines, k), types[k])
        )
        out = self.work.outputs[0]
        if self.work.epilogue is None and out.dtype.bits == 8:
            value = lines.let(rounded(lines, value, out.dtype) if out.dtype.is_float else value)
        if self.store_text:
            lines.line(self.store_text.replace("VALUE", stored(value, out.dtype)))
            return
        y = self.parameters.pointer("y", out.dtype, Output(0))
        lines.line(f"tl.store({y} + {self._place(lines)}, {stored(value, out.dtype)}{self.block.guard})")

    def _kind(self, k: int) -> OperandKind:
        """A channel axis of one element is not our columns."""
        assert self.work.epilogue is not None, "operands belong to an epilogue"
        return "scalar" if self.operands[k].type.count == 1 else self.work.epilogue.kinds[k]

    def _load(self, lines: Lines, k: int) -> str:
        """Name of an operand's elements as they are in memory.

        They become fp32 behind the sums only: that is where the compiler moves them to the registers of the sums, and
        nothing may wait for them before the factors are asked for.
        """
        if k in self._loaded:
            return self._loaded[k]
        block, index = self.block, self.work.anchor_inputs + k
        base = self.parameters.pointer(f"e{index}", self.operands[k].type.dtype, Input(index))
        match self._kind(k):
            case "full":
                text = f"tl.load({base} + {self._place(lines)}{block.guard})"
            case "channel":
                loaded = f"tl.load({base} + {block.column}{guarded(block.columns_end)})"
                text = f"{loaded}{block.column_axis}"
            case "scalar":
                text = f"tl.load({base})"
        self._loaded[k] = f"operand{k}{self.suffix}"
        lines.line(f"{self._loaded[k]} = {text}")
        return self._loaded[k]

    def _place(self, lines: Lines) -> str:
        """Name of the elements from the output's start to each of the block."""
        if -1 not in self._loaded:
            block, out = self.block, self.work.outputs[0]
            first = f"{block.first} + " if block.first else ""
            number = f"tl.full((), {block.row}, tl.int32)" if block.row.isdigit() else block.row
            row = scaled(f"{number}{block.row_axis}", self.problem.out_row, self.parameters, extent(out))
            self._loaded[-1] = f"place{self.suffix}"
            lines.line(f"{self._loaded[-1]} = {first}{row} + {block.column}{block.column_axis}")
        return self._loaded[-1]


def product_dtype(work: Workload) -> DType:
    """The dtype of the product itself, before the pointwise work."""
    left, right = input_type(work, 0).dtype, input_type(work, 1).dtype
    return matmul_dtype(left, right, getattr(work.anchor, "out_dtype", None))
