"""a + b, broadcast."""

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._kinds import Pointwise
from engineworks.ops._pointwise import broadcasting_from_onnx
from engineworks.ops._torch import scaled, wide_operands


@op("add")
class Add(Pointwise):
    """Sum of two tensors of one dtype; integers wrap around."""

    commutes = True
    keeps_dims = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return xs[0] + xs[1]

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.add(*inputs)  # type: ignore[call-overload]  # also over object arrays of Dims

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}))


broadcasting_from_onnx("Add", Add)


@from_torch("aten.add.Tensor", "aten.add.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """self + alpha other; of booleans whether one is True."""
    a, b = wide_operands(g, n, "self", "other")
    b = scaled(g, b, n.arg("alpha"))
    if n.result_dtype() is dtypes.bool_:
        return g.logical_or(a, b)
    return g.cast_to(g.add(a, b), n.result_dtype())
