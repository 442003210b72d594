"""a + b, broadcast."""

import numpy as np

from engineworks.ir import example, f32, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._kinds import Pointwise
from engineworks.ops._pointwise import broadcasting_from_onnx


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
