"""What kernels of single ops on plain tensors ask of a problem, whatever the hardware."""

from __future__ import annotations

from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.workload import Workload


def plain_operands(work: Workload, op: str, *, any_order: bool) -> list[TensorType]:
    """The types of all inputs and outputs of a problem of `op`.

    Args:
        any_order: operands may lie in any order of axes, rows not padded; otherwise they are row-major.
    Raises:
        NoTactic: another op, an epilogue, other layouts, or types without kernels.
    """
    if work.anchor is None or work.anchor.name != op:
        raise NoTactic(f"not {op}")
    if work.epilogue is not None:
        raise NoTactic("there is no place for an epilogue")
    types = [*(i.type for i in work.inputs if i is not None), *work.outputs]
    layouts = [t.layout for t in types if t.layout is not None]
    if layouts and not (any_order and not any(layout.row_pad for layout in layouts)):
        raise NoTactic("operands must be row-major")
    if any(t.dtype.bits < 8 or t.dtype.kind == "string" for t in types):
        raise NoTactic("types below 8 bits and strings have no kernel")
    return types
