"""The problem a kernel solves: an anchor op on typed operands, with the pointwise work fused behind it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from engineworks.core.types import TensorType
from engineworks.ir.group import OperandKind
from engineworks.ir.kernel import LoopKernel
from engineworks.ir.op import Op
from engineworks.ir.scalar import Scalar


@dataclass(frozen=True, slots=True)
class Operand:
    """One input of a workload. `constant` values are known at build and may be packed for the kernel."""

    type: TensorType
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Epilogue:
    """Pointwise work done on the accumulator in registers before it is stored.

    Attributes:
        expression: over argument(0), the accumulator in the anchor's output dtype, and argument(1 + k), an element of
            epilogue operand k; its dtype is the stored dtype.
        kinds: for each epilogue operand how it varies: 'full' like the output (same shape and layout), 'channel'
            along one axis only (a bias: 1-D contiguous): the channels of a convolution, else the output's
            innermost memory axis, 'scalar' not at all.
    """

    expression: Scalar
    kinds: tuple[OperandKind, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """Hashable identity of a kernel problem; its text is its key in the timing cache.

    Attributes:
        anchor: the op that decides the algorithm; for plain loop nests the ops.loops anchor is None and `loops` is set.
        inputs: the anchor's inputs (None where omitted), then the epilogue's operands.
        anchor_inputs: how many of `inputs` belong to the anchor.
        outputs: types with layouts.
        epilogue: None stores the accumulator.
    """

    anchor: Op | None
    inputs: tuple[Operand | None, ...]
    anchor_inputs: int
    outputs: tuple[TensorType, ...]
    epilogue: Epilogue | None = None
    loops: LoopKernel | None = None

    def text(self) -> str:
        """Canonical text."""
        parts = [str(self.anchor) if self.anchor is not None else str(self.loops)]
        for operand in self.inputs:
            parts.append("-" if operand is None else f"{operand.type}{' const' if operand.constant else ''}")
        parts.append(f"anchor_inputs={self.anchor_inputs} -> {', '.join(str(t) for t in self.outputs)}")
        if self.epilogue:
            parts.append(f"{self.epilogue.expression} {','.join(self.epilogue.kinds)}")
        return "\n".join(parts)

    def key(self) -> str:
        """16 hex digits that name the workload (part of kernel symbol names and cache keys)."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]


def input_type(work: Workload, index: int) -> TensorType:
    """Type of input `index`, which is not omitted."""
    operand = work.inputs[index]
    assert operand is not None, f"input {index} of {work.anchor} is omitted"
    return operand.type
