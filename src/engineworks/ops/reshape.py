"""Another shape of the same row-major elements: a view."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.dims import Dim, known_equal, product
from engineworks.core.shapes import shape_text, solve_reshape
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
from engineworks.ops._views import regrouped_index


@op("reshape")
class Reshape(Op):
    """x with `shape`, which is solved: no -1, and 0 means no elements."""

    shape: tuple[Dim, ...]
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if any(isinstance(d, int) and d < 0 for d in self.shape):
            raise InvalidModel(f"shape {shape_text(self.shape)} has a negative size")
        if known_equal(x.count, product(self.shape)) is False:
            raise InvalidModel(
                f"{x} has {x.count} elements, {shape_text(self.shape)} has {product(self.shape)}"
            )
        return (TensorType(x.dtype, self.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.reshape(inputs[0], self.shape)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        return inputs[0](regrouped_index(index, self.shape, types[0].shape))

    examples = (
        example(f32(2, 6, 4), shape=(2, 2, 3, 4)),
        example(f32(2, 3, 4), shape=(4, 6)),
        example(f32(2, 1, 3), shape=(3, 1, 1, 2)),
        example(f32(0, 3), shape=(3, 0, 5)),
        example(f32(1, 1), shape=()),
    )


@from_onnx("Reshape")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    requested = n.dims(1, "the new shape") if len(n) > 1 else tuple(n.attr("shape", ()))
    assert requested is not None
    where = f"Reshape at node '{n.foreign.name}'"
    shape = solve_reshape(
        n[0].type.shape, requested, allow_zero=bool(n.attr("allowzero", 0)), scope=g.graph.scope, why=where
    )
    return g.reshape_to(n[0], shape)


@from_torch(
    "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.view_copy.default"
)
@from_torch("aten._reshape_copy.default", "aten._reshape_alias.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    shape = n.arg("size" if "size" in n.foreign.attributes else "shape")
    where = f"the view at node '{n.foreign.name}'"
    if product(x.type.shape) == 0:  # beside sizes of 0 a -1 is what torch says
        return g.reshape_to(x, n.result_shape())
    return g.reshape_to(
        x, solve_reshape(x.type.shape, shape, allow_zero=True, scope=g.graph.scope, why=where)
    )


@from_torch("aten.view_as.default", "aten.reshape_as.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.reshape_to(n.arg("self"), n.arg("other").type.shape)
