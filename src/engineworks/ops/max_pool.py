"""Maximum over sliding windows, with the positions where it was found when asked."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import product
from engineworks.core.shapes import AutoPad
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, op
from engineworks.ops._windows import (
    AXES,
    onnx_windows,
    place_all,
    pool_arguments,
    pooled_type,
    spread_axes,
    taps,
)


@op("max_pool")
class MaxPool(Op):
    """Largest element of each window of x[N, C, spatial…]; padding never wins; NaN wins always.

    Attributes:
        kernel: window size on each spatial axis.
        strides, dilations: empty: 1. pads: begins then ends; empty: 0.
        ceil_mode: keep a last partial window that starts inside the input or the padding before it.
        storage_order: of the indices: 0 row-major, 1 column-major over the spatial axes.
        indices: also return the i64 position of each maximum in the flattened x (the first of equal ones).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    ceil_mode: bool = False
    storage_order: int = 0
    indices: bool = False
    auto_pad: AutoPad = "NOTSET"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        values = pooled_type(self, x)
        return (values, TensorType(dtypes.i64, values.shape)) if self.indices else (values,)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray | tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        placed = place_all(self, x.shape[2:], self.kernel, ceil_mode=self.ceil_mode)
        lowest = -np.inf if x.dtype.kind not in "iu" else np.iinfo(x.dtype).min
        under = list(taps(x, self, self.kernel, placed, lowest))
        values = under[0][1].copy()
        for _, elements in under[1:]:
            values = np.maximum(values, elements)
        if not self.indices:
            return values
        inside = [e for _, e in taps(np.ones(x.shape, bool), self, self.kernel, placed, False)]
        positions = [e for _, e in taps(self._positions(x.shape), self, self.kernel, placed, -1)]
        found = np.full(values.shape, -1, np.int64)
        for (_, elements), is_real, position in zip(under, inside, positions, strict=True):
            equal = np.equal(elements, values) | (np.isnan(elements) & np.isnan(values))
            found = np.where((found < 0) & is_real & equal, position, found)
        return values, found

    def _positions(self, shape: tuple[int, ...]) -> np.ndarray:
        spatial = np.arange(int(np.prod(shape[2:]))).reshape(
            shape[2:], order="F" if self.storage_order else "C"
        )
        planes = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *[1] * len(shape[2:]))
        return planes * spatial.size + spatial

    examples = (
        example(f32(1, 3, 8, 9), kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        example(f32("N", 2, 7), kernel=(3,), strides=(2,), ceil_mode=True, dims={"N": (1, 3)}),
        example(f32(1, 2, 6, 5), kernel=(2, 2), dilations=(2, 1), storage_order=1, indices=True),
        example(f32(1, 2, 5, 6, 4), kernel=(2, 3, 2), strides=(1, 2, 2)),
    )


@from_onnx("MaxPool")
def _(g: GraphBuilder, n: ForeignNode) -> Value | tuple[Value, ...]:
    kernel, sizes = tuple(n.attr("kernel_shape")), n[0].type.shape[2:]
    ceil_mode = bool(n.attr("ceil_mode", 0))
    wants_indices = n.output_count > 1 and bool(n.output_names[1])
    windows = onnx_windows(n, sizes, kernel, ceil_mode=ceil_mode)
    return g.max_pool(
        n[0],
        kernel=kernel,
        ceil_mode=ceil_mode,
        storage_order=n.attr("storage_order", 0),
        indices=wants_indices,
        **windows,
    )


@from_torch("aten.max_pool1d.default", "aten.max_pool2d.default", "aten.max_pool3d.default")
@from_torch("aten.max_pool1d_with_indices.default", "aten.max_pool2d_with_indices.default")
@from_torch("aten.max_pool3d_with_indices.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """torch's indices are positions in a channel's plane, ours in the whole tensor."""
    indices = any(n.output_names[1:])
    x, axes = n.arg("self"), AXES[n.foreign.kind.split("pool")[1][:2]]
    kernel, stride, padding = pool_arguments(n, axes)
    pool = MaxPool(
        kernel,
        stride,
        padding * 2,
        spread_axes(n.arg("dilation"), axes),
        bool(n.arg("ceil_mode")),
        0,
        indices,
    )
    batched = x if x.type.rank == axes + 2 else g.unsqueeze(x, (0,))
    values, *found = g.add_node(pool, [batched])
    made = [values, *(g.mod(places, g.dims(product(batched.type.shape[2:]))) for places in found)]
    made = made if batched is x else [g.squeeze(v, (0,)) for v in made]
    return (*made, *[None] * (2 - len(made)))
