"""Tensors one after another along an axis: each element is read from the part it lies in."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.dims import Dim, known_equal
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Reader,
    Value,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
)
from engineworks.ir.scalar import Scalar, apply, size, where


@op("concat")
class Concat(Op):
    """The inputs joined along `axis`; their other sizes are equal."""

    axis: int
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        parts = [t for t in inputs if t is not None]
        if not parts or len(parts) != len(inputs):
            raise InvalidModel("needs at least one input, and all of them")
        first = parts[0]
        axis = normalize_axis(self.axis, first.rank)
        total: Dim = 0
        for t in parts:
            if t.rank != first.rank or t.dtype is not first.dtype:
                raise InvalidModel(f"{first} and {t} differ in rank or dtype")
            for a in range(t.rank):
                if a != axis and known_equal(t.shape[a], first.shape[a]) is False:
                    raise InvalidModel(f"{first} and {t} differ on axis {a}; only axis {axis} may")
            total = total + t.shape[axis]
        return (TensorType(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :])),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.concatenate(inputs, axis=self.axis)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        axis = normalize_axis(self.axis, len(index))
        ends: list[Dim] = [0]
        for t in types[: len(inputs)]:
            ends.append(ends[-1] + t.shape[axis])
        parts = [k for k in range(len(inputs)) if types[k].shape[axis] != 0] or [0]

        def read(k: int) -> Scalar:
            return inputs[k]((*index[:axis], index[axis] - size(ends[k]), *index[axis + 1 :]))

        chosen = read(parts[-1])
        for k in reversed(parts[:-1]):
            chosen = where(apply("lt", index[axis], size(ends[k + 1])), read(k), chosen)
        return chosen

    examples = (
        example(f32(2, 3), f32(2, 5), axis=1),
        example(f32("N", 3), f32(2, 3), f32("N", 3), axis=0, dims={"N": (1, 4)}),
        example(f32(2, 0), f32(2, 4), axis=-1),
    )


@from_onnx("Concat", since=4)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return concat(g, n, n.attr("axis"))


@from_onnx("Concat", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Before opset 4 the axis may be left out."""
    return concat(g, n, n.attr("axis", 1))


def concat(g: GraphBuilder, n: ForeignNode, axis: int) -> Value:
    """The inputs that hold something, joined."""
    return _joined(g, n, n.given(), axis)


def _joined(g: GraphBuilder, n: ForeignNode, values: Sequence[Value], axis: int) -> Value:
    """The values that hold something, joined; other sizes that may differ become run-time checks."""
    first = values[0]
    axis = normalize_axis(axis, first.type.rank)
    for value in values[1:]:
        for a, d in enumerate(value.type.shape if value.type.rank == first.type.rank else ()):
            if a != axis:
                why = f"{n.foreign.kind} at node '{n.foreign.name}': axis {a}"
                g.graph.scope.require(d, first.type.shape[a], why)
    parts = [v for v in values if v.type.rank != first.type.rank or v.type.shape[axis] != 0] or values[:1]
    return parts[0] if len(parts) == 1 else g.concat(*parts, axis=axis)


@from_torch("aten.cat.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """In the common dtype; torch's old empty vectors are left out."""
    parts = [v for v in n.arg("tensors") if v.type.shape != (0,)] or [n.arg("tensors")[0]]
    return _joined(g, n, [g.cast_to(v, n.result_dtype()) for v in parts], n.arg("dim"))


@from_torch("aten.stack.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    parts = [g.cast_to(v, n.result_dtype()) for v in n.arg("tensors")]
    axis = normalize_axis(n.arg("dim"), parts[0].type.rank + 1)
    return _joined(g, n, [g.unsqueeze(v, (axis,)) for v in parts], axis)
