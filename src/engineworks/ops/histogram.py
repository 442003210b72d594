"""How many elements have which magnitude: what calibration collects (calibration/observe.py)."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import Op, example, f32, op


@op("histogram")
class Histogram(Op):
    """Counts of |x| in `bins` equal bins from 0 to `limit`, an f32 scalar: i32 [bins].

    What lies beyond the limit, and NaN, is counted in the last bin. The bin is found in f32 as |x| · (bins / limit),
    so that a limit twice as large gives the same counts, two neighbours added up (but for what lies at the limit).
    """

    bins: int

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, limit = inputs
        assert x is not None and limit is not None
        if x.dtype is not dtypes.f32 or limit.dtype is not dtypes.f32 or limit.rank:
            raise InvalidModel(f"a histogram takes f32 and a scalar limit, not {x} and {limit}")
        if self.bins < 1:
            raise InvalidModel(f"a histogram of {self.bins} bins holds nothing")
        return (TensorType(dtypes.i32, (self.bins,)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, limit = inputs
        assert x is not None and limit is not None
        with np.errstate(all="ignore"):
            positions = np.abs(x).ravel() * (np.float32(self.bins) / limit)
            found = np.fmin(positions, np.float32(self.bins - 1)).astype(np.int32)
        return np.bincount(found, minlength=self.bins).astype(np.int32)

    examples = (
        example(f32(3, 40), f32(values=2.0), bins=16),
        example(f32("N", 77), f32(values=1.5), bins=2048, dims={"N": (1, 9)}),
        example(f32(4, values=[0.0, -1.0, float("inf"), float("nan")]), f32(values=1.0), bins=4),
    )
