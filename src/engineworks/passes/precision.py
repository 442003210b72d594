"""Weak typing: which products compute in narrower types than the model's, and which values are stored in them.

Products read narrow operands and give f32; all else computes in f32. A value made behind a product and read by a
narrow one is stored narrow for all its readers, but what feeds norms, softmax and sums stays f32: there errors add up.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import BuildError
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._products import FACTORS, RECURRENT
from engineworks.passes.precision_storage import NarrowForms, widened

DTYPES: dict[str, DType] = {"bf16": dtypes.bf16, "fp16": dtypes.f16}


@dataclass(frozen=True, slots=True)
class LayerPrecision:
    """What one product computes in ('fp32', 'bf16', 'fp16', 'int8'), and why. `origin`: its source nodes."""

    origin: tuple[str, ...]
    op: str
    precision: str
    reason: str


Choose = Callable[[Node, Sequence[str]], tuple[str, str]]
"""Takes a product and the precisions that are possible, 'fp32' among them; gives one and the reason."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a build allows.

    Attributes:
        allowed: precisions beside 'fp32'.
        layers: (name or glob of source nodes, precision), the last match wins.
        constraints: 'obey' makes `layers` a condition, 'prefer' a wish, 'none' nothing.
        choose: decides where several are possible.
        prepare: is told before about all products in f32.
        narrows_both: fp16 multiplies two narrow operands (GPUs); otherwise only constants are stored in it (CPUs).
    """

    allowed: frozenset[str]
    choose: Choose
    layers: tuple[tuple[str, str], ...] = ()
    constraints: str = "prefer"
    prepare: Callable[[Sequence[Node]], None] = lambda nodes: None
    narrows_both: bool = False

    def decide(self, node: Node, impossible: dict[str, str]) -> tuple[str, str]:
        """Precision and reason for a product in f32.

        Args:
            impossible: why the node cannot have a precision. What merely never pays can be asked for.
        Raises:
            BuildError: `layers` asks for what cannot be, and constraints are 'obey'.
        """
        asked = self._asked(node)
        if asked is not None and asked not in impossible:
            return asked, "asked for by layer_precisions"
        if asked is not None and self.constraints == "obey":
            raise BuildError(
                f"layer_precisions asks for {asked} at '{', '.join(node.origin)}' ({node.op.name}), which cannot be: "
                f"{impossible[asked]}. Ask for another precision there, or set precision_constraints='prefer'."
            )
        closed = impossible if self.narrows_both else impossible | unwise_floats(node)
        possible = [p for p in ("int8", "bf16", "fp16") if p in self.allowed and p not in closed]
        lost = "; ".join(f"{p}: {why}" for p, why in closed.items() if p in self.allowed or p == asked)
        if not possible:
            return "fp32", lost or "no narrower precision is allowed"
        precision, reason = self.choose(node, ["fp32", *possible])
        return precision, f"{reason}; {lost}" if lost and precision == "fp32" else reason

    def _asked(self, node: Node) -> str | None:
        if self.constraints == "none":
            return None
        found = [p for glob, p in self.layers if any(fnmatch.fnmatchcase(n, glob) for n in node.origin)]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class NarrowProducts:
    """Give products narrow operands where the policy decides so; those of narrow models sum in f32.

    Args:
        record: is told about every product.
        reasons: sentences about products that earlier passes saw, by the name of a source node.
    """

    policy: Policy
    record: Callable[[LayerPrecision], None]
    reasons: dict[str, str]
    name: ClassVar[str] = "precision"

    def run(self, rewriter: Rewriter) -> None:
        forms = NarrowForms(rewriter)
        products = [n for n in rewriter.graph.nodes if n.op.name in FACTORS]
        self.policy.prepare(
            [n for n in products if all(v is None or v.type.dtype is dtypes.f32 for v in n.inputs[:2])]
        )
        for node in products:
            precision, reason = self._decided(rewriter, node, forms)
            self.record(LayerPrecision(node.origin, node.op.name, precision, reason))
        forms.share(widened)

    def _decided(self, rewriter: Rewriter, node: Node, forms: NarrowForms) -> tuple[str, str]:
        given = [v.type.dtype for v in node.inputs[: FACTORS[node.op.name]] if v is not None]
        known = next((self.reasons[n] for n in node.origin if n in self.reasons), "")
        if node.outputs[0].type.dtype is dtypes.i32 and all(d.bits == 8 for d in given):
            return "int8", known or "the model's own integers"
        if any(d is not dtypes.f32 for d in given):
            if node.op.out_dtype is None and all(d in DTYPES.values() for d in given):  # type: ignore[attr-defined]
                _sum_in_f32(rewriter, node)
            return _name_of(given), known or "the model's own type"
        impossible = {"int8": known or "no calibration and no Q/DQ in the model"}
        if node.op.name in RECURRENT:
            impossible["int8"] = "recurrent layers have no integer kernel"
        precision, reason = self.policy.decide(node, impossible)
        if precision in DTYPES:
            _narrow(rewriter, node, precision, forms, self.policy.narrows_both)
        elif known:
            reason = known
        return precision, reason


def unwise_floats(node: Node) -> dict[str, str]:
    """Which narrow floats never pay for a product of f32, and why."""
    if _has_weights(node):
        return {}
    if node.op.name in RECURRENT and any(v is None or not v.is_constant for v in node.inputs[1:3]):
        return {"fp16": "weights known only at run time", "bf16": "weights known only at run time"}
    return {"fp16": "only constant factors of matmuls gain by it here"}


def _has_weights(node: Node) -> bool:
    return node.op.name == "matmul" and any(v is not None and v.is_constant for v in node.inputs[:2])


def _narrow(rewriter: Rewriter, node: Node, precision: str, forms: NarrowForms, both: bool) -> None:
    """The same product of narrow operands; on a CPU, in fp16, the weights of a matmul alone are narrow."""
    dtype, weights_alone = DTYPES[precision], precision == "fp16" and not both and _has_weights(node)
    operands = [
        v
        if v is None or k >= FACTORS[node.op.name] or (weights_alone and not v.is_constant)
        else forms.cast(v, dtype)
        for k, v in enumerate(node.inputs)
    ]
    op = dataclasses.replace(node.op, out_dtype=dtypes.f32)  # type: ignore[type-var]
    with rewriter.building(node) as g:
        new = g.add_node(op, operands)
    rewriter.replace(f"product in {precision}", node.outputs, new, [node])


def _sum_in_f32(rewriter: Rewriter, node: Node) -> None:
    """A product of f16 or bf16 gives its f32 sums, and rounds them to its own type afterwards."""
    op = dataclasses.replace(node.op, out_dtype=dtypes.f32)  # type: ignore[type-var]
    with rewriter.building(node) as g:
        factors = FACTORS[node.op.name]
        more = [
            v if v is None or not v.type.dtype.is_float else g.cast_to(v, dtypes.f32)
            for v in node.inputs[factors:]
        ]
        sums = g.add_node(op, [*node.inputs[:factors], *more])
        new = [g.cast(s, dtype=old.type.dtype) for s, old in zip(sums, node.outputs, strict=True)]
    rewriter.replace("sums in f32", node.outputs, new, [node])


def _name_of(given: list[DType]) -> str:
    """The precision's name for operands of these types."""
    narrowest = min(given, key=lambda d: d.bits)
    if narrowest.is_integer and dtypes.f32 in given:
        return "fp32"  # which the bytes are widened to
    return next((name for name, dtype in DTYPES.items() if dtype is narrowest), str(narrowest))


def _widened(g: GraphBuilder, value: Value | None) -> Value | None:
    return value if value is None or not value.type.dtype.is_float else g.cast_to(value, dtypes.f32)
