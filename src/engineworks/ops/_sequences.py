"""Sequences of tensors while a model is imported: what is in them is known at build, so engines hold none."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.ir.foreign import ForeignNode
from engineworks.ir.graph import Value

TAKE_SEQUENCES = frozenset(
    {"SequenceAt", "SequenceLength", "SequenceInsert", "SequenceErase", "ConcatFromSequence"}
)
"""ONNX operators whose first input is a sequence."""


@dataclass(frozen=True, slots=True)
class TensorSequence:
    """Tensors in a row."""

    items: tuple[Value, ...]


def sequence_of(n: ForeignNode) -> tuple[Value, ...]:
    """What the sequence at input 0 holds. Raises UnsupportedOperator where it comes from outside of the model."""
    if not isinstance(n[0], TensorSequence):
        raise n.unsupported("its sequence is not made in the same graph; pass tensors instead")
    return n[0].items


def position_in(n: ForeignNode, index: int, length: int, *, default: int) -> int:
    """Input `index` as a position in 0 … length, negative ones counted from the end.

    Raises:
        UnsupportedOperator: it is computed at run time.
        InvalidModel: outside of the sequence.
    """
    given = n.constant(index, "the position")
    position = default if given is None else int(given.ravel()[0])
    position += length if position < 0 else 0
    if not 0 <= position <= length:
        raise n.invalid(f"position {position} is outside of a sequence of {length} tensors")
    return position
