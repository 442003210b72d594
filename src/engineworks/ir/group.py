"""Group: the nodes that one kernel (or a short run of kernels) will compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engineworks.core.types import TensorType
from engineworks.ir.graph import Node, Value

OperandKind = Literal["full", "channel", "scalar"]
"""How an epilogue operand varies over the anchor's output."""
GroupKind = Literal["anchor", "loops", "piece", "alias", "host"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a stored tensor that a kernel reads in place.

    Attributes:
        offset: elements from the tensor's first to the part's first.
        type: the part, with the strides of the whole in its layout.
    """

    offset: int
    type: TensorType


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A part of the graph that becomes kernels together.

    Attributes:
        kind: 'anchor': a native op with its epilogue; 'loops': a fused loop nest; 'piece': input number `piece` of a
            concat written into its place; 'alias': the output is the input's memory, no kernel.
        nodes: in order; the anchor first, the concat of a piece last.
        inputs: values from outside, in the order kernels number them (for an anchor: its inputs first; None omitted).
        outputs: values others read.
        domain: the value whose shape is the loop domain ('loops').
        axes: axes of the domain that are folded ('loops').
        notes: why fusion stopped, for explain.
        parts: by input number, what an anchor reads of that value: where the kernel follows slices by itself.
    """

    kind: GroupKind
    nodes: tuple[Node, ...]
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    domain: Value | None = None
    axes: tuple[int, ...] = ()
    piece: int = -1
    notes: tuple[str, ...] = ()
    parts: Mapping[int, Part] = field(default_factory=dict)

    @property
    def anchor(self) -> Node:
        """The native op."""
        return self.nodes[0]

    @property
    def origin(self) -> tuple[str, ...]:
        """Source names, each once."""
        return tuple(dict.fromkeys(name for n in self.nodes for name in n.origin))
