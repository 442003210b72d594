"""From groups to workloads: what is asked of the kernel families."""

from __future__ import annotations

from engineworks.codegen.lower import epilogue_expression, lower_loops
from engineworks.ir import scalar
from engineworks.ir.graph import Node, Value
from engineworks.ir.group import Group
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.passes.layouts import CHANNELS_LAST_OPS, channels_last
from engineworks.passes.partition_anchor import operand_kind


def workload_of(group: Group) -> Workload:
    """The kernel problem of a group that is not an alias; inputs and outputs are numbered as the group's."""
    inputs = tuple(None if v is None else Operand(v.type, v.is_constant) for v in group.inputs)
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
    """Floating-point operations of the anchor at static shapes, 0 where it is not a product; for the report."""
    if work.anchor is None or work.anchor.name not in ("matmul", "conv") or not work.outputs[0].is_static:
        return 0.0
    out = float(work.outputs[0].count)  # type: ignore[arg-type]
    weights = work.inputs[1]
    assert weights is not None
    if not weights.type.is_static:
        return 0.0
    if work.anchor.name == "matmul":
        return 2.0 * out * float(weights.type.shape[-2])  # type: ignore[arg-type]
    return 2.0 * out * float(weights.type.count) / float(weights.type.shape[0])  # type: ignore[arg-type]
