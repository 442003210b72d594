"""Mean over sliding windows."""

import math

import numpy as np

from engineworks.core.dims import dim_max
from engineworks.core.shapes import AutoPad
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, op
from engineworks.ops._windows import (
    AXES,
    onnx_windows,
    over_batch,
    place_all,
    pool_arguments,
    pooled_type,
    taps,
)


@op("average_pool")
class AveragePool(Op):
    """Mean of each window of x[N, C, spatial…].

    Attributes:
        kernel: window size on each spatial axis.
        strides, dilations: empty: 1. pads: begins then ends; empty: 0.
        ceil_mode: keep a last partial window that starts inside the input or the padding before it.
        count_include_pad: padding counts as zeros; else the mean is over elements of x only. What ceil_mode adds
            beyond the padding never counts.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    ceil_mode: bool = False
    count_include_pad: bool = False
    auto_pad: AutoPad = "NOTSET"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (pooled_type(self, x, floats_only=True),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        (x,) = inputs
        assert x is not None
        placed = place_all(self, x.shape[2:], self.kernel, ceil_mode=self.ceil_mode)
        total = sum((e for _, e in taps(x.astype(np.float64), self, self.kernel, placed, 0)), np.zeros(()))
        counted = np.ones((1, 1, *x.shape[2:]))
        if self.count_include_pad:
            # pyrefly: ignore[bad-argument-type]
            around = [(int(p.pad_before), int(p.pad_after)) for p in placed]
            counted = np.pad(counted, [(0, 0), (0, 0), *around], constant_values=1)
            placed = tuple(type(p)(p.out, 0, 0) for p in placed)
        count = sum((e for _, e in taps(counted, self, self.kernel, placed, 0)), np.zeros(()))
        return (total / count).astype(x.dtype)

    examples = (
        example(f32(1, 3, 8, 9), kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        example(f32("N", 2, 7), kernel=(3,), strides=(2,), ceil_mode=True, dims={"N": (1, 3)}),
        example(f32(1, 2, 6, 5), kernel=(2, 2), pads=(1, 0, 1, 1), count_include_pad=True),
        example(f32(1, 2, 5, 6, 4), kernel=(2, 3, 2), strides=(1, 2, 2)),
    )


@from_onnx("AveragePool")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    kernel, sizes = tuple(n.attr("kernel_shape")), n[0].type.shape[2:]
    ceil_mode = bool(n.attr("ceil_mode", 0))
    windows = onnx_windows(n, sizes, kernel, ceil_mode=ceil_mode)
    return g.average_pool(
        n[0],
        kernel=kernel,
        ceil_mode=ceil_mode,
        count_include_pad=bool(n.attr("count_include_pad", 0)),
        **windows,
    )


@from_torch("aten.avg_pool1d.default", "aten.avg_pool2d.default", "aten.avg_pool3d.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, axes = n.arg("self"), AXES[n.foreign.kind.split(".")[1][-2:]]
    kernel, stride, padding = pool_arguments(n, axes)
    divisor = n.arg("divisor_override") if "divisor_override" in n.foreign.attributes else None
    pool = AveragePool(
        kernel, stride, padding * 2, (), bool(n.arg("ceil_mode")), bool(n.arg("count_include_pad"))
    )
    if divisor is None:
        return over_batch(g, n, x, axes, lambda v: g.add_node(pool, [v])[0])
    return over_batch(g, n, x, axes, lambda v: _divided(g, v, pool, divisor))


def _divided(g: GraphBuilder, x: Value, pool: AveragePool, divisor: int) -> Value:
    """Sums of windows, by a divisor of its own: of zeros around x, so that every window is whole."""
    axes = len(pool.kernel)
    placed = place_all(pool, x.type.shape[2:], pool.kernel, ceil_mode=pool.ceil_mode)
    before = (0, 0, *pool.pads[:axes])
    after = (0, 0, *(
        dim_max((w.out - 1) * s + k - d - b, 0)
        for w, s, k, d, b in zip(placed, pool.strides, pool.kernel, x.type.shape[2:], pool.pads, strict=False)
    ))  # fmt: skip
    wide = g.pad(x, g.constant(0, x.type.dtype), before=before, after=after)
    mean = g.average_pool(wide, kernel=pool.kernel, strides=pool.strides)
    return g.mul(mean, math.prod(pool.kernel) / divisor)
