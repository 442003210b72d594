"""What happens to a convolution's sums before they are stored: bias, epilogue, and the operands these read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.tile import CACHE_LINE, Store, TileOperand, by_columns, store_tile
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import Scalar, argument, substitute
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Output
from engineworks.kernels.workload import Epilogue, Operand, Workload, input_type
from engineworks.ops._product_types import product_dtype
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose


@dataclass(frozen=True, slots=True)
class Finish:
    """What happens to a sum: `expression` over argument(0) and the operands (inputs of the workload by index)."""

    expression: Scalar | None
    operands: tuple[tuple[int, str, Operand], ...]


def finish_of(work: Workload) -> Finish:
    """The epilogue with the bias (anchor input 2) as one more 'channel' operand.

    Raises:
        NoTactic: a 'full' operand does not lie like the output.
    """
    epilogue = work.epilogue or Epilogue(argument(0, work.outputs[0].dtype))
    given = [(work.anchor_inputs + k, kind) for k, kind in enumerate(epilogue.kinds)]
    expression = epilogue.expression
    if work.anchor_inputs > 2 and work.inputs[2] is not None:
        assert isinstance(work.anchor, (Conv, ConvTranspose)), f"{work.anchor} has no bias"
        x, w = input_type(work, 0).dtype, input_type(work, 1).dtype
        sum_type = product_dtype(x, w, work.anchor.out_dtype)
        total, bias = argument(0, sum_type), argument(1 + len(given), sum_type)
        expression = substitute(expression, lambda node: total + bias if node is total else None)
        given.append((2, "channel"))
    operands = []
    for index, kind in given:
        operand = work.inputs[index]
        assert operand is not None, f"epilogue operand {index} is missing"
        if kind == "full" and operand.type.strides() != work.outputs[0].strides():
            raise NoTactic(
                f"epilogue operand {operand.type} does not lie in memory like the output {work.outputs[0]}"
            )
        operands.append((index, kind, operand))
    plain = expression is argument(0, work.outputs[0].dtype)
    return Finish(None if plain else expression, tuple(operands))


def tile_operands(
    f: Function, arguments: Mapping[int, str], end: Finish, element: Size, channel: Size
) -> tuple[TileOperand, ...]:
    """The epilogue's operands under the tile whose first output is `element`, in channel `channel`."""
    out = []
    for index, kind, operand in end.operands:
        size = operand.type.dtype.size_bytes
        shift = {"full": element, "channel": channel, "scalar": 0}[kind]
        out.append(TileOperand(kind, operand.type.dtype, f.at(arguments[index], f.mul(shift, size))))  # type: ignore[arg-type]
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a kernel's results go: addresses of y and of the epilogue's operands (by input)."""

    y: str
    dtype: DType
    end: Finish
    operands: Mapping[int, str]


def outputs_of(words: Words, work: Workload, end: Finish) -> Outputs:
    """The results of a workload, as arguments of the kernel that asks."""
    y = words.pointer(Output(0))
    operands = {index: words.pointer(Input(index)) for index, _, _ in end.operands}
    return Outputs(y, work.outputs[0].dtype, end, operands)


@dataclass(frozen=True, slots=True)
class OutputTile:
    """Which outputs the sums of a tile are.

    Attributes:
        rows: elements from the first output to each row's.
        element, channel: of the first output.
        left, all: output channels of the group from here on, and in all.
    """

    rows: Sequence[Size]
    element: Size
    channel: Size
    left: Size
    all: int


def store_sums(f: Function, isa: Isa, sums: Sequence[Sequence[str]], out: Outputs, tile: OutputTile) -> None:
    """Epilogue and store of a tile."""
    pointer = f.at(out.y, f.mul(tile.element, out.dtype.size_bytes))
    given = tile_operands(f, out.operands, out.end, tile.element, tile.channel)

    def emit(count: Size | None) -> None:
        store_tile(
            f, isa, sums, Store(pointer, tuple(tile.rows), out.dtype, count, out.end.expression, given)
        )

    by_columns(f, len(sums[0]) * isa.lanes, tile.left, tile.all, emit)


def fetch_operands(
    f: Function, operands: Mapping[int, str], end: Finish, rows: Sequence[Size], element: Size, width: int
) -> None:
    """Ask for a tile's elements of 'full' operands before its sums are made: the hardware does not guess its rows."""
    for index, kind, operand in end.operands:
        if kind != "full":
            continue
        size = operand.type.dtype.size_bytes
        base = f.at(operands[index], f.mul(element, size))
        for row in rows:
            for byte in range(0, width * size, CACHE_LINE):
                at = f.at(base, f.add(f.mul(row, size), byte))
                f.call("void", "llvm.prefetch.p0", f"ptr {at}", "i32 0", "i32 3", "i32 1")
