"""Inputs and outputs in a narrow float, where the user asks for it: callers then move half the bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.graph import Value
from engineworks.ir.rewriter import Rewriter


@dataclass(frozen=True, slots=True)
class NarrowInputsOutputs:
    """Inputs and outputs of f32 become `dtype`; the graph computes as before in between."""

    dtype: DType
    name: ClassVar[str] = "narrow inputs and outputs"

    def run(self, rewriter: Rewriter) -> None:
        graph = rewriter.graph
        for position, wide in enumerate(graph.inputs):
            if wide.type.dtype is dtypes.f32:
                narrow = graph.inputs[position] = Value(replace(wide.type, dtype=self.dtype), wide.name)
                with rewriter.building(*[u for u, _ in wide.uses[:1]]) as g:
                    rewriter.redirect(wide, g.cast(narrow, dtype=dtypes.f32))
        for position, wide in enumerate(graph.outputs):
            if wide.type.dtype is dtypes.f32:
                with rewriter.building(*([wide.producer] if wide.producer else [])) as g:
                    graph.outputs[position] = g.cast(wide, dtype=self.dtype)
