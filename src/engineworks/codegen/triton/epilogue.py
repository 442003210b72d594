"""The pointwise work behind an anchor, written into its kernel on the accumulator's registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engineworks.codegen.triton.casts import held_type
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import emit_scalar
from engineworks.core.dtypes import DType
from engineworks.ir.group import OperandKind
from engineworks.ir.scalar import Scalar, leaves_of


class PointwiseWork(Protocol):
    """What `kernels.workload.Epilogue` is: an expression over argument(0), the accumulator, and argument(1 + k)."""

    @property
    def expression(self) -> Scalar: ...
    @property
    def kinds(self) -> tuple[OperandKind, ...]: ...


LoadOperand = Callable[[int, OperandKind], str]
"""(number of the epilogue operand, how it varies) -> text of its value as loaded and widened (`scalars.held`), of a
shape that broadcasts with the accumulator's."""


def emit_epilogue(
    lines: Lines, epilogue: PointwiseWork | None, accumulator_name: str, load: LoadOperand
) -> str:
    """Append the statements of an epilogue and return the name of what is to be stored (`scalars.stored`).

    Args:
        epilogue: None gives the accumulator back.
        accumulator_name: a block in the held form of argument 0's dtype, or one of another arithmetic (fp32 sums of
            a product whose output is f64, i32 sums of integers), which is converted.
        load: asked once for each operand that the expression reads.
    """
    if epilogue is None:
        return accumulator_name

    def leaf(node: Scalar, _: tuple[str, ...]) -> str:
        assert node.head == "argument", f"an epilogue has no {node.head}"
        if node.payload == 0:
            return f"{accumulator_name}.to({held_type(node.dtype)})"
        return load(node.payload - 1, epilogue.kinds[node.payload - 1])

    result = epilogue.expression.dtype
    return emit_scalar(lines, epilogue.expression, leaf, rough=result.is_float and result.bits <= 16)


def accumulated_dtype(epilogue: PointwiseWork | None, default: DType) -> DType:
    """The dtype in which the expression takes the accumulator."""
    found = leaves_of(epilogue.expression, "argument") if epilogue else []
    return next((n.dtype for n in found if n.payload == 0), default)
