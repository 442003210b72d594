"""p-norm over sliding windows, and over all spatial axes."""

import numpy as np

from engineworks.core.shapes import AutoPad
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, op
from engineworks.ops._windows import onnx_windows, place_all, pooled_type, taps


@op("lp_pool")
class LpPool(Op):
    """(Σ |x|^p)^(1/p) of each window of x[N, C, spatial…]; padding counts as zeros. Attributes as in average_pool."""

    kernel: tuple[int, ...]
    p: float = 2.0
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    ceil_mode: bool = False
    auto_pad: AutoPad = "NOTSET"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (pooled_type(self, x, floats_only=True),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        (x,) = inputs
        assert x is not None
        placed = place_all(self, x.shape[2:], self.kernel, ceil_mode=self.ceil_mode)
        powers = np.abs(x.astype(np.float64)) ** self.p
        total = sum(e for _, e in taps(powers, self, self.kernel, placed, 0))
        return (total ** (1 / self.p)).astype(x.dtype)

    examples = (
        example(f32(1, 3, 8, 9), kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        example(f32("N", 2, 7), kernel=(3,), p=3.0, strides=(2,), ceil_mode=True, dims={"N": (1, 3)}),
    )


@from_onnx("LpPool")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    kernel, sizes = tuple(n.attr("kernel_shape")), n[0].type.shape[2:]
    ceil_mode = bool(n.attr("ceil_mode", 0))
    windows = onnx_windows(n, sizes, kernel, ceil_mode=ceil_mode)
    return g.lp_pool(n[0], kernel=kernel, p=float(n.attr("p", 2)), ceil_mode=ceil_mode, **windows)


@from_onnx("GlobalLpPool")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, p = n[0], float(n.attr("p", 2))
    axes = tuple(range(2, x.type.rank))
    total = g.reduce_sum(g.pow(g.abs(x), p), axes=axes, keepdims=True)
    return g.pow(total, 1 / p)
