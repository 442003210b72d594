"""Position of the smallest element along one axis."""
import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, i32, op
from engineworks.ir.kernel import MonoidName
from engineworks.ops._kinds import Reduction


@op("argmin")
class ArgMin(Reduction):
    """i64 position of the smallest element along the single one of `axes`; NaN counts as smallest.

    Of equal elements the first wins, with `select_last` the last.
    """

    axes: tuple[int, ...] = (0,)
    keepdims: bool = True
    select_last: bool = False
    result = dtypes.i64

    @property
    def monoid(self) -> MonoidName:  # type: ignore[override]
        return "argmin_last" if self.select_last else "argmin_first"

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        (axis,) = self.normal_axes(x.ndim)
        if not self.select_last:
            return np.argmin(x, axis=axis, keepdims=self.keepdims)
        return x.shape[axis] - 1 - np.argmin(np.flip(x, axis), axis=axis, keepdims=self.keepdims)

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(i32("N", 30), axes=(-1,), keepdims=False, select_last=True, dims={"N": (1, 4)}),
        example(f32(values=[1, float("nan"), 3, float("nan")])),
    )


@from_onnx("ArgMin")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.argmin(
        n[0],
        axes=(n.attr("axis", 0),),
        keepdims=bool(n.attr("keepdims", 1)),
        select_last=bool(n.attr("select_last_index", 0)),
    )
