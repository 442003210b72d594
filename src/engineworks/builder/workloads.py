"""From groups to workloads: what is asked of the kernel families."""

from __future__ import annotations

from math import prod

from engineworks.codegen.lower import epilogue_expression, lower_loops
from engineworks.core.types import TensorType
from engineworks.ir import scalar
from engineworks.ir.graph import Node, Value
from engineworks.ir.group import Group
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.passes.layouts import CHANNELS_LAST_OPS, channels_last
from engineworks.passes.partition_anchor import operand_kind


def workload_of(group: Group) -> Workload:
    """The kernel problem of a group that is not an alias; inputs and outputs are numbered as the group's."""
    inputs = tuple(
        None if v is None else Operand(group.parts[k].type if k in group.parts else v.type, v.is_constant)
        for k, v in enumerate(group.inputs)
    )
    outputs = tuple(v.type for v in group.outputs)
    if group.kind in ("loops", "piece"):
        return Workload(None, inputs, len(inputs), outputs, loops=lower_loops(group))
    count = len(group.anchor.inputs)
    epilogue = _epilogue(group, count) if len(group.nodes) > 1 else None
    return Workload(group.anchor.op, inputs, count, outputs, epilogue)


def _epilogue(group: Group, count: int) -> Epilogue:
    operands = [v for v in group.inputs[count:] if v is not None]
    kinds = [operand_kind(v, group.anchor) for v in operands]
    assert all(kinds), f"the epilogue of {group.origin} reads an operand no kernel can follow"
    expression = scalar.cast(epilogue_expression(group, operands), group.outputs[0].type.dtype)
    return Epilogue(expression, tuple(k for k in kinds if k))


def workload_of_node(node: Node) -> Workload:
    """The problem of a node alone, before layouts are assigned: to ask whether a family claims it."""
    wanted = (
        channels_last(node.output.type.rank)
        if node.op.name in CHANNELS_LAST_OPS and node.output.type.rank >= 3
        else None
    )

    def operand(position: int, value: Value | None) -> Operand | None:
        if value is None:
            return None
        return Operand(
            value.type.with_layout(wanted) if wanted and position == 0 else value.type, value.is_constant
        )

    inputs = tuple(operand(k, v) for k, v in enumerate(node.inputs))
    return Workload(node.op, inputs, len(inputs), tuple(v.type.with_layout(wanted) for v in node.outputs))


def flops(work: Workload) -> float:
    """Floating-point operations of the anchor at static shapes, 0 where it is no product; for the report.

    Two for each multiply-add, counted as the direct form does them, padding included.
    """
    types = [None if w is None else w.type for w in work.inputs[: work.anchor_inputs]]
    if work.anchor is None or any(t is not None and not t.is_static for t in (*types, *work.outputs)):
        return 0.0
    out = _numbers(work.outputs[0])
    match work.anchor.name, types:
        case "matmul" | "normalised_matmul", [_, TensorType() as right, *_]:
            return 2.0 * prod(out) * _numbers(right)[-2]
        case "conv", [_, TensorType() as filters, *_]:
            return 2.0 * prod(out) * prod(_numbers(filters)) / _numbers(filters)[0]
        case "conv_transpose", [TensorType() as x, TensorType() as filters, *_]:
            return 2.0 * prod(_numbers(x)) * prod(_numbers(filters)) / _numbers(filters)[0]
        case "attention", [TensorType() as queries, TensorType() as keys, *_]:
            scores = prod(_numbers(queries)[:-1]) * _numbers(keys)[-2]
            return 2.0 * scores * (_numbers(queries)[-1] + out[-1])
    return 0.0


def _numbers(tensor: TensorType) -> list[int]:
    """The sizes of a static type."""
    return [int(d) for d in tensor.shape]  # type: ignore[arg-type]
