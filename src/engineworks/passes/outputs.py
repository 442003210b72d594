"""Give every graph output memory of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engineworks.core.types import row_major
from engineworks.ir.graph import Value
from engineworks.ir.rewriter import Rewriter
from engineworks.passes.partition_views import is_alias


@dataclass(frozen=True, slots=True)
class SeparateOutputs:
    """Copy outputs that are an input, a constant, or the memory of another output."""

    name: ClassVar[str] = "separate outputs"

    def run(self, rewriter: Rewriter) -> None:
        graph = rewriter.graph
        seen = {id(v) for v in graph.inputs}
        for position, value in enumerate(graph.outputs):
            root = _root(value)
            if root.is_constant or id(root) in seen:
                origin = (
                    value.producer.origin if value.producer is not None else (graph.output_names[position],)
                )
                with rewriter.building() as g, g.origin(*origin):
                    copied = g.relayout(value, order=row_major(value.type.rank).order)
                graph.outputs[position] = copied
                root = copied
            seen.add(id(root))


def _root(value: Value) -> Value:
    while value.producer is not None and is_alias(value.producer):
        source = value.producer.inputs[0]
        assert source is not None
        value = source
    return value
