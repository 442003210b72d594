"""What softmax, log_softmax and hardmax share: one axis, and how ONNX spells it across opsets."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.core.dims import product
from engineworks.core.types import TensorType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.cases import example, f32
from engineworks.ir.foreign import ForeignNode, from_onnx
from engineworks.ir.graph import Value
from engineworks.ir.op import Op


@dataclass(frozen=True, repr=False)
class NormalisedLines(Op):
    """Works on each line of x along `axis`; the output is like x."""

    axis: int = -1

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(x.dtype, x.shape),)

    examples = (example(f32(2, 5)), example(f32("N", 7, 3), axis=1, dims={"N": (1, 4)}))


def lines_from_onnx(kind: str, name: str) -> None:
    """Register ONNX's `kind` as our op `name`, which has one attribute, `axis`."""

    def along_axis(g: GraphBuilder, n: ForeignNode) -> Value:
        return getattr(g, name)(n[0], axis=n.attr("axis", -1))

    def flattened(g: GraphBuilder, n: ForeignNode) -> Value:
        """Before opset 13 all axes from `axis` on are one line."""
        x, shape = n[0], n[0].type.shape
        axis = n.attr("axis", 1) % max(x.type.rank, 1)
        if all(d == 1 for d in shape[axis:-1]):
            return getattr(g, name)(x, axis=-1)
        flat = g.reshape_to(x, (product(shape[:axis]), product(shape[axis:])))
        return g.reshape_to(getattr(g, name)(flat, axis=1), shape)

    from_onnx(kind, since=13)(along_axis)
    from_onnx(kind)(flattened)
