"""From groups of nodes to kernels: a loop nest for fused groups, an epilogue expression behind native ops."""

from __future__ import annotations

from collections.abc import Sequence

from engineworks.core import dtypes
from engineworks.core.dims import product
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir import scalar
from engineworks.ir.graph import Node, Value
from engineworks.ir.group import Group
from engineworks.ir.kernel import LoopKernel, Reduce, Store
from engineworks.ir.op import Reader
from engineworks.ir.scalar import Scalar

Index = tuple[Scalar, ...]


class GroupReader:
    """Reads elements of values as scalars: inner nodes through their meaning, outer values as loads."""

    def __init__(self, group: Group) -> None:
        self.operands = {id(v): k for k, v in enumerate(group.inputs) if v is not None}
        self.inside = {id(v): n for n in group.nodes for v in n.outputs}
        self.stage_of: dict[int, int] = {}
        self.dtype_of_stage: dict[int, DType] = {}
        self.count: Scalar = scalar.const(1, dtypes.i64)
        self._memo: dict[tuple[int, Index], Scalar] = {}

    def read(self, value: Value, index: Index) -> Scalar:
        """One element of `value`."""
        key = (id(value), index)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._read(value, index)
        return found

    def _read(self, value: Value, index: Index) -> Scalar:
        node = self.inside.get(id(value))
        if node is not None and id(node) in self.stage_of:
            number = self.stage_of[id(node)]
            return node.op.after(scalar.stage(number, self.dtype_of_stage[number]), self.count)  # type: ignore[attr-defined]
        if node is not None:
            return element_of(node, index, self.read)
        if value.is_constant and value.array.size == 1:
            return scalar.const(value.array.ravel()[0].item(), value.type.dtype)
        return scalar.load(self.operands[id(value)], index, value.type.dtype)


def element_of(node: Node, index: Index, read: object) -> Scalar:
    """Output 0 of `node` at `index`, reading inputs through `read(value, index)`."""
    given = [v for v in node.inputs if v is not None]
    readers: list[Reader] = [lambda i, v=v: read(v, i) for v in given]  # type: ignore[operator, misc]
    types: list[TensorType] = [v.type for v in given] + [node.output.type]
    return node.op.element(readers, index, types)


def lower_loops(group: Group) -> LoopKernel:
    """The loop nest of a 'loops' or 'piece' group; operands are numbered as `group.inputs`."""
    assert group.domain is not None
    shape = group.domain.type.shape
    kept = [a for a in range(len(shape)) if a not in group.axes]
    place = {a: scalar.axis(k) for k, a in enumerate([*kept, *group.axes])}
    full = tuple(place[a] for a in range(len(shape)))
    reader = GroupReader(group)
    reader.count = scalar.size(product([shape[a] for a in group.axes]))
    stages: list[Reduce | Store] = []
    for node in group.nodes:
        if _is_stage(node, group):
            stages.append(_reduce(node, full, reader))
            reader.stage_of[id(node)] = len(stages) - 1
            reader.dtype_of_stage[len(stages) - 1] = stages[-1].dtype  # type: ignore[union-attr]
    for number, value in enumerate(group.outputs):
        stages.append(_store(group, number, value, full, kept, reader))
    return LoopKernel(
        tuple(shape[a] for a in kept),
        tuple(shape[a] for a in group.axes),
        tuple(v.type for v in group.inputs if v is not None),
        tuple(v.type for v in group.outputs),
        tuple(stages),
    )


def _is_stage(node: Node, group: Group) -> bool:
    return bool(group.axes) and hasattr(node.op, "monoid")


def _reduce(node: Node, full: Index, reader: GroupReader) -> Reduce:
    source = node.inputs[0]
    assert source is not None
    body = node.op.before(reader.read(source, full))  # type: ignore[attr-defined]
    monoid = node.op.monoid  # type: ignore[attr-defined]
    dtype = dtypes.i64 if monoid.startswith("arg") else body.dtype
    return Reduce(monoid, body, dtype)


def _store(
    group: Group, number: int, value: Value, full: Index, kept: list[int], reader: GroupReader
) -> Store:
    if group.kind == "piece":
        concat = group.nodes[-1]
        axis = concat.op.axis % value.type.rank  # type: ignore[attr-defined]
        before = [v.type.shape[axis] for v in concat.inputs[: group.piece] if v is not None]
        start = scalar.size(sum(before[1:], before[0]) if before else 0)
        index = tuple(i + start if a == axis else i for a, i in enumerate(full))
        return Store(0, index, reader.read(group.domain, full), over_reduced=False)  # type: ignore[arg-type]
    assert group.domain is not None
    zero = scalar.const(0, dtypes.i64)
    if value.type.shape == group.domain.type.shape or not group.axes:
        index, over = full, bool(group.axes)
    elif value.type.rank == len(full):
        index, over = tuple(zero if a in group.axes else i for a, i in enumerate(full)), False
    else:
        index, over = tuple(full[a] for a in kept), False
    return Store(number, index, scalar.cast(reader.read(value, index), value.type.dtype), over_reduced=over)


def epilogue_expression(group: Group, operands: Sequence[Value]) -> Scalar:
    """What happens to the accumulator, argument(0); operand k of the epilogue is argument(1 + k)."""
    numbers = {id(v): k + 1 for k, v in enumerate(operands)}
    anchor = group.anchor.output
    inside = {id(v): n for n in group.nodes[1:] for v in n.outputs}

    def read(value: Value, _: Index) -> Scalar:
        if value is anchor:
            return scalar.argument(0, value.type.dtype)
        if id(value) in inside:
            node = inside[id(value)]
            return node.op.scalar(*[read(v, ()) for v in node.inputs if v is not None])  # type: ignore[attr-defined]
        if value.is_constant and value.array.size == 1:
            return scalar.const(value.array.ravel()[0].item(), value.type.dtype)
        return scalar.argument(numbers[id(value)], value.type.dtype)

    return read(group.outputs[0], ())
