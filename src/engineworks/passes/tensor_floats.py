"""TF32: products of f32 may round their factors to 10 bits of mantissa, for the matrix units of GPUs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from engineworks.core import dtypes
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._products import FACTORS


@dataclass(frozen=True, slots=True)
class AllowTensorFloats:
    """Mark every product of f32."""

    name: ClassVar[str] = "tf32"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            if node.op.name not in FACTORS and node.op.name != "attention":
                continue
            if any(v is not None and v.type.dtype is not dtypes.f32 for v in node.inputs[:2]):
                continue
            op = dataclasses.replace(node.op, allow_tf32=True)  # type: ignore[type-var]
            with rewriter.building(node) as g:
                new = g.add_node(op, node.inputs)
            rewriter.replace("product in tf32", node.outputs, new, [node])
