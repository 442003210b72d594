"""Weak typing of attention: queries, keys and values in narrow floats, where its kernels multiply them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import ml_dtypes

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.passes.precision import DTYPES, LayerPrecision, Policy
from engineworks.passes.precision_storage import NarrowForms

LOWEST = {
    dtypes.bf16: float(ml_dtypes.finfo(ml_dtypes.bfloat16).min), dtypes.f16: float(ml_dtypes.finfo("float16").min),
}  # fmt: skip
"""A row of masks below it would become infinite, and its softmax no number."""
VIEWS = frozenset({"transpose", "reshape"})


@dataclass(frozen=True, slots=True)
class NarrowAttention:
    """Give attention in f32 operands of bf16 (on GPUs, of fp16 too) where the policy decides so.

    Masks that differ by query are biases of positions, of which bf16 would lose digits: such attention stays.

    Args:
        record: is told about every attention.
    """

    policy: Policy
    record: Callable[[LayerPrecision], None]
    name: ClassVar[str] = "precision of attention"

    def run(self, rewriter: Rewriter) -> None:
        forms = NarrowForms(rewriter)
        # A glob for all layers means the products around it: where attention cannot follow, nothing is wrong.
        mild = "prefer" if self.policy.constraints == "obey" else self.policy.constraints
        policy = replace(self.policy, constraints=mild)
        for node in [n for n in rewriter.graph.nodes if n.op.name == "attention"]:
            if node.output.type.dtype is not dtypes.f32:
                continue
            closed = {"int8": "softmax lies between its products"}
            if not policy.narrows_both:
                closed["fp16"] = "it has no weights to be smaller"
            if _is_biased(node):
                closed["bf16"] = "its mask differs by query"
            precision, reason = policy.decide(node, closed)
            if precision in DTYPES:
                _narrow(rewriter, node, forms, DTYPES[precision])
            self.record(LayerPrecision(node.origin, node.op.name, precision, reason))


def _is_biased(node: Node) -> bool:
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    return mask is not None and mask.type.rank > 1 and mask.type.shape[-2] != 1


def _narrow(rewriter: Rewriter, node: Node, forms: NarrowForms, dtype: DType) -> None:
    operands: list[Value | None] = [forms.cast(v, dtype) for v in node.inputs[:3] if v is not None]
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    with rewriter.building(node) as g:
        if mask is not None:
            operands.append(g.cast(g.max(mask, LOWEST[dtype]), dtype=dtype))
        narrow = g.add_node(node.op, operands)[0]
    old, nodes = node.output, [node]
    # Widened behind the views that follow, so that a narrow product there reads what attention stores.
    while len(old.uses) == 1 and old.uses[0][0].op.name in VIEWS and not rewriter.graph.is_output(old):
        view = old.uses[0][0]
        with rewriter.building(view) as g:
            narrow = g.add_node(view.op, [narrow])[0]
        old = view.output
        nodes.append(view)
    with rewriter.building(nodes[-1]) as g:
        wide = g.cast(narrow, dtype=dtypes.f32)
    rewriter.replace(f"attention in {dtype}", [old], [wide], nodes)
