"""Sum over axes."""
import numpy as np

from engineworks.ir import example, f32, i64, op
from engineworks.ops._kinds import Reduction


@op("reduce_sum")
class ReduceSum(Reduction):
    """Σ over `axes` (empty: all). Float sums of an empty axis are 0."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "sum"

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        wide = np.float64 if x.dtype.kind == "f" else x.dtype
        return np.sum(x.astype(wide), axis=self.normal_axes(x.ndim), keepdims=self.keepdims).astype(x.dtype)

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(f32("N", 300), axes=(-1,), keepdims=False, dims={"N": (1, 4)}),
        example(i64(3, 4)),
    )
