"""Where a tensor is not zero: a result whose size depends on the data."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, symbol
from engineworks.core.types import TensorType
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Value,
    boolean,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
)


@op("non_zero")
class NonZero(Op):
    """Indices of the elements that are not zero, in row-major order: i64 [rank, count]; NaN is not zero.

    `count` is the symbol for how many there are.
    """

    count: Dim
    defines = ("count",)

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(dtypes.i64, (x.rank, self.count)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.array(np.nonzero(np.atleast_1d(inputs[0])), np.int64)[: np.ndim(inputs[0])]  # type: ignore[arg-type]

    examples = (
        example(boolean(3, 4), count=symbol("count", 0)),
        example(f32(2, 3, values=[[0, 1, -0.0], [2, 0, float("nan")]]), count=symbol("count", 0)),
        example(boolean("N", 40), count=symbol("count", 0), dims={"N": (1, 9)}),
    )


@from_onnx("NonZero")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.non_zero(n[0], count=g.graph.scope.fresh("nonzero", 0, bounds(n[0].type.count)[1]))


@from_torch("aten.nonzero.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """[count, rank]; a tensor of rank 0 has one place, without coordinates."""
    x = n.arg("self")
    if x.type.rank == 0:
        raise n.unsupported("of a tensor of rank 0")
    return g.transpose(
        g.non_zero(x, count=g.graph.scope.fresh("nonzero", 0, bounds(x.type.count)[1])), perm=(1, 0)
    )
