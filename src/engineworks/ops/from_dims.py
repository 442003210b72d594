"""An integer tensor whose elements are dims: how shape arithmetic becomes data at run time."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir import Op, op
from engineworks.ir.graph import Value
from engineworks.ir.op import Reader
from engineworks.ir.scalar import Scalar, apply, cast, const, size, where


@op("from_dims")
class FromDims(Op):
    """Tensor of `shape` holding `dims` in row-major order."""

    dims: tuple[Dim, ...]
    shape: tuple[int, ...]
    dtype: DType = dtypes.i64

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        return (TensorType(self.dtype, self.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.array(self.dims, dtype=np.int64).reshape(self.shape).astype(self.dtype.numpy)

    def known_output(self, *inputs: Value | None) -> np.ndarray:
        """The elements are known Dims."""
        out = np.empty(len(self.dims), dtype=object)
        out[:] = self.dims
        return out.reshape(self.shape)

    def element(self, inputs: list[Reader], index: tuple[Scalar, ...], types: list[TensorType]) -> Scalar:
        flat: Scalar = const(0, dtypes.i64)
        for extent, i in zip(self.shape, index, strict=True):
            flat = flat * extent + i
        chosen = size(self.dims[-1]) if self.dims else const(0, dtypes.i64)
        for position in range(len(self.dims) - 2, -1, -1):
            chosen = where(apply("eq", flat, const(position, dtypes.i64)), size(self.dims[position]), chosen)
        return cast(chosen, self.dtype)
