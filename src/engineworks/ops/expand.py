"""Broadcast to a larger shape: a view."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.dims import Dim, known_equal
from engineworks.core.shapes import broadcast, shape_text
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
from engineworks.ir.scalar import Scalar
from engineworks.ops._kinds import broadcast_index


@op("expand")
class Expand(Op):
    """x repeated along its axes of size 1, and along new leading ones, to exactly `shape`."""

    shape: tuple[Dim, ...]
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        new = len(self.shape) - x.rank
        for have, want in zip(x.shape, self.shape[max(new, 0) :], strict=False):
            if new < 0 or (have != 1 and known_equal(have, want) is False):
                raise InvalidModel(f"{x} cannot be repeated to {shape_text(self.shape)}")
        return (TensorType(x.dtype, self.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.broadcast_to(inputs[0], self.shape)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        return inputs[0](broadcast_index(index, types[0]))

    examples = (
        example(f32(3, 1), shape=(2, 3, 4)),
        example(f32(), shape=(3,)),
    )  # fmt: skip


@from_onnx("Expand")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    wanted = n.dims(1, "the shape")
    assert wanted is not None
    shape = broadcast(n[0].type.shape, wanted, scope=g.graph.scope)
    return n[0] if shape == n[0].type.shape else g.expand(n[0], shape=shape)


@from_torch("aten.expand.default", "aten.expand_copy.default", "aten.broadcast_to.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """A size of -1 stays as it is."""
    x, sizes = n.arg("self"), n.arg("size")
    new = len(sizes) - x.type.rank
    shape = tuple(x.type.shape[k - new] if d == -1 else d for k, d in enumerate(sizes))
    return x if shape == x.type.shape else g.expand(x, shape=shape)


@from_torch("aten.expand_as.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, shape = n.arg("self"), n.arg("other").type.shape
    return x if shape == x.type.shape else g.expand(x, shape=shape)
