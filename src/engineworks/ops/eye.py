"""Ones on a diagonal."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Reader, Value, example, from_onnx, from_torch, op
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._onnx_types import dtype_attribute


@op("eye")
class Eye(Op):
    """[rows, columns]: 1 where column = row + k, else 0."""

    rows: Dim
    columns: Dim
    k: int = 0
    dtype: DType = dtypes.f32

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        return (TensorType(self.dtype, (self.rows, self.columns)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.eye(self.rows, self.columns, self.k).astype(self.dtype.numpy)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        return where(apply("eq", index[0] + self.k, index[1]), const(1, self.dtype), const(0, self.dtype))

    examples = (example(rows=3, columns=5, k=-1), example(rows=4, columns=4, dtype=dtypes.i32))


@from_onnx("EyeLike")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n[0].type
    if x.rank != 2:
        raise n.invalid(f"its input must be a matrix, not {x}")
    return g.eye(
        rows=x.shape[0], columns=x.shape[1], k=n.attr("k", 0), dtype=dtype_attribute(n, "dtype", x.dtype)
    )


@from_torch("aten.eye.default", "aten.eye.m")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    columns = n.arg("m") if "m" in n.foreign.attributes else n.arg("n")
    return g.eye(rows=n.arg("n"), columns=columns, dtype=n.result_dtype())
