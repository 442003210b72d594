"""The upper or lower triangle of matrices."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
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
    i64,
    op,
)
from engineworks.ir.scalar import Scalar, apply, cast, const, where


@op("trilu")
class Trilu(Op):
    """x with zeros below (`upper`) or above diagonal `k` of its last two axes; an input 1, a scalar, is added to k."""

    upper: bool = True
    k: int = 0

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x = inputs[0]
        assert x is not None
        if x.rank < 2:
            raise InvalidModel(f"needs matrices, not {x}")
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        k = self.k + (int(np.asarray(inputs[1]).ravel()[0]) if len(inputs) > 1 else 0)
        rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
        kept = columns - rows >= k if self.upper else columns - rows <= k
        return np.where(kept, x, np.zeros((), x.dtype))

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        diagonal = index[-2] + self.k
        if len(inputs) > 1:
            at = (const(0, dtypes.i64),) * types[1].rank
            diagonal = diagonal + cast(inputs[1](at), dtypes.i64)
        kept = apply("le", diagonal, index[-1]) if self.upper else apply("le", index[-1], diagonal)
        return where(kept, inputs[0](index), const(0, types[0].dtype))

    examples = (
        example(f32(3, 4)),
        example(f32(2, "N", 5), upper=False, k=1, dims={"N": (1, 4)}),
        example(f32(4, 4), i64(values=-2), upper=True),
    )


@from_onnx("Trilu")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    upper = bool(n.attr("upper", 1))
    if n[1] is None or n[1].constant is not None:
        k = 0 if n[1] is None else int(n[1].array.ravel()[0])
        return g.trilu(n[0], upper=upper, k=k)
    return g.trilu(n[0], n[1], upper=upper)


@from_torch("aten.triu.default", "aten.tril.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """A diagonal that follows from sizes is added at run time."""
    k, upper = n.arg("diagonal"), n.foreign.kind == "aten.triu.default"
    if isinstance(k, int):
        return g.trilu(n.arg("self"), upper=upper, k=k)
    return g.trilu(n.arg("self"), g.dims(k), upper=upper)
