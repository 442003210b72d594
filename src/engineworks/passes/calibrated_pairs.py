"""Calibrated int8: quantise and dequantise in front of products, as a model with explicit quantisation has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.passes.precision import Policy
from engineworks.passes.precision_storage import VIEWS, NarrowForms

LEVELS = 127
UNSIGNED_LEVELS = 255
NEVER_NEGATIVE = frozenset({"relu", "sigmoid", "hard_sigmoid", "softmax", "exp", "abs", "softplus"})
PASSED_ON = VIEWS | {"max_pool", "concat", "average_pool"}
"""Ops whose results are not negative when their inputs are not."""


@dataclass(frozen=True, slots=True)
class CalibratedPairs:
    """Quantise the operands of the products in f32 for which the policy decides on int8.

    Activations have one scale each, from `ranges`: i8 without a zero point, or u8 where no value is negative; constant
    weights have one for each output.

    Args:
        ranges: range / 127 of the model's tensors by name.
        reasons: filled in: why products have the precision they have, by the names of their source nodes.
        steps: filled in: what one level of a quantised tensor stands for, by the tensor's name.
    """

    policy: Policy
    ranges: Mapping[str, float]
    reasons: dict[str, str]
    steps: dict[str, float]
    name: ClassVar[str] = "calibrated precision"

    def run(self, rewriter: Rewriter) -> None:
        forms = NarrowForms(rewriter)
        for node in [n for n in rewriter.graph.nodes if n.op.name in ("conv", "matmul")]:
            if all(v is None or v.type.dtype is dtypes.f32 for v in node.inputs) and not _is_quantised(node):
                self._visit(rewriter, node, forms)
        forms.share(lambda _, pair: pair)

    def _visit(self, rewriter: Rewriter, node: Node, forms: NarrowForms) -> None:
        why = self._impossible(node)
        precision, reason = self.policy.decide(node, {"int8": why} if why else {})
        self.reasons.update(dict.fromkeys(node.origin, why or reason))
        if precision != "int8":
            return
        for position in (0, 1):
            value = node.inputs[position]
            assert value is not None
            if value.is_constant:
                with rewriter.building(node) as g:
                    pair = _quantised_weights(g, value, node, position)
            else:
                scale = self._scale_of(value)
                assert scale is not None
                pair = forms.form(value, lambda g, v, s=scale: self._pair(g, v, s))
            node.set_input(position, pair)
        rewriter.note("product in int8", [node])

    def _impossible(self, node: Node) -> str:
        """Why the node cannot be int8; empty when it can."""
        for value in node.inputs[:2]:
            assert value is not None
            if not value.is_constant and self._scale_of(value) is None:
                return f"tensor '{value.name or '/'.join(node.origin)}' has no calibrated range"
        if node.op.name == "conv" and not node.inputs[1].is_constant:  # type: ignore[union-attr]
            return "its filters are not known at build"
        return ""

    def _pair(self, g: GraphBuilder, value: Value, scale: float) -> Value:
        """One scale for the tensor; all levels of u8 where no value is negative."""
        dtype = dtypes.i8
        if is_never_negative(value):
            dtype, scale = dtypes.u8, scale * LEVELS / UNSIGNED_LEVELS
        step = g.constant(np.float32(scale))
        narrow = g.quantize_linear(value, step, dtype=dtype)
        narrow.name = value.name
        self.steps[value.name] = float(np.float32(scale))
        return g.dequantize_linear(narrow, step)

    def _scale_of(self, value: Value) -> float | None:
        """The scale of a tensor: its own, or that of what it is a view of."""
        found = self.ranges.get(value.name) or None
        node = value.producer
        if found is None and node is not None and node.op.name in PASSED_ON and len(node.inputs) == 1:
            source = node.inputs[0]
            return None if source is None else self._scale_of(source)
        return found


def _is_quantised(node: Node) -> bool:
    return all(v is not None and v.producer is not None and v.producer.op.name == "dequantize_linear"
               for v in node.inputs[:2])  # fmt: skip


def _quantised_weights(g: GraphBuilder, weights: Value, node: Node, position: int) -> Value:
    """Symmetric i8 with a scale for each output; for matmuls by a matrix of more axes, or from the left, one scale."""
    array = weights.array.astype(np.float32)
    axis = 0 if node.op.name == "conv" else array.ndim - 1
    per_output = node.op.name == "conv" or (position == 1 and array.ndim == 2)
    over = tuple(a for a in range(array.ndim) if not per_output or a != axis)
    largest = np.abs(array).max(axis=over, keepdims=True)
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / LEVELS
    numbers = np.clip(np.rint(array / scale), -LEVELS, LEVELS)
    steps = g.constant(scale.reshape(-1 if per_output else ()))
    return g.dequantize_linear(g.constant(numbers, dtypes.i8, weights.name), steps, axis=axis)


def is_never_negative(value: Value, depth: int = 16) -> bool:
    """No element is below zero, whatever the inputs are."""
    node = value.producer
    if value.is_constant:
        return bool((value.array >= 0).all())
    if node is None or not depth:
        return False
    if node.op.name in NEVER_NEGATIVE:
        return True
    given = [v for v in node.inputs if v is not None]
    if node.op.name == "max":
        return any(is_never_negative(v, depth - 1) for v in given)
    if node.op.name in PASSED_ON | {"add", "mul", "min", "dequantize_linear", "reduce_mean"}:
        if node.op.name == "dequantize_linear":
            return node.inputs[0].type.dtype is dtypes.u8 and _has_no_zero(node)  # type: ignore[union-attr]
        return all(is_never_negative(v, depth - 1) for v in given)
    return False


def _has_no_zero(node: Node) -> bool:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    return zero is None or (zero.is_constant and not zero.array.any())
