"""0, 1, 2, …"""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir import Op, Reader, example, op
from engineworks.ir.scalar import Scalar, cast
from engineworks.ops._views import plain


@op("iota")
class Iota(Op):
    """The integers below `count`, as `dtype`."""

    count: Dim
    dtype: DType = dtypes.i64

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        return (TensorType(self.dtype, (self.count,)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.arange(plain(self.count)).astype(self.dtype.numpy)

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        return cast(index[0], self.dtype)

    examples = (example(count=5), example(count=3, dtype=dtypes.f32), example(count=0))
