"""x itself. Importing ONNX's Identity makes no node."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.types import TensorType
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
from engineworks.ir.scalar import Scalar


@op("identity")
class Identity(Op):
    """A copy of x, where one is needed: a graph output that is also an input."""

    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.asarray(inputs[0])

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        return inputs[0](index)

    examples = (example(f32(2, 5)), example(f32("N", 3), dims={"N": (1, 4)}))


@from_onnx("Identity")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return n[0]


from_torch(
    "aten.alias.default", "aten.alias_copy.default", "aten.clone.default", "aten.detach.default",
    "aten.detach_copy.default", "aten.contiguous.default", "aten.lift.default", "aten.lift_fresh.default",
    "aten.lift_fresh_copy.default", "aten.positive.default",
)(lambda g, n: n.arg("self"))  # fmt: skip
