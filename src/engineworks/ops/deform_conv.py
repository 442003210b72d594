"""ONNX DeformConv: samples where offsets say, then a product with the filters."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._windows import per_axis

AXES = 2


@from_onnx("DeformConv")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Inputs: x [N, C, H, W], w [O, C/groups, kH, kW], offsets [N, G 2 kH kW, oH, oW], bias [O],
    mask [N, G kH kW, oH, oW]; bias and mask may be omitted.

    Each of the G groups of channels has its own offsets, a (row, column) pair for each position under the filter.
    """
    x, w, offset, bias, mask = (n[k] for k in range(5))
    if x.type.rank != AXES + 2:
        raise n.unsupported(f"{x.type.rank - 2} spatial axes; {AXES} are supported")
    batch, channels, *sizes = x.type.shape
    kernel, out = tuple(int(d) for d in w.type.shape[2:]), tuple(offset.type.shape[2:])
    taps, parts = kernel[0] * kernel[1], n.attr("offset_group", 1)
    offset = g.reshape_to(offset, (batch, parts, taps, 2, *out))
    axes = [_positions(g, n, offset, a, kernel, sizes[a]) for a in range(AXES)]
    grid = g.concat(axes[1], axes[0], axis=axes[0].type.rank - 1)
    # Groups of channels join the batch, positions under the filter the rows.
    images = g.reshape_to(x, (batch * parts, channels // parts, *sizes))
    sampled = g.grid_sample(images, g.reshape_to(grid, (batch * parts, taps * out[0], out[1], 2)))
    if mask is not None:
        sampled = g.reshape_to(sampled, (batch, parts, channels // parts, taps, *out))
        sampled = g.mul(sampled, g.reshape_to(mask, (batch, parts, 1, taps, *out)))
    groups, outputs = n.attr("group", 1), w.type.shape[0]
    length = channels // groups * taps
    columns = g.reshape_to(sampled, (batch, groups, length, out[0] * out[1]))
    y = g.matmul(g.reshape_to(w, (groups, outputs // groups, length)), columns)
    y = g.reshape_to(y, (batch, outputs, *out))
    return y if bias is None else g.add(y, g.reshape_to(bias, (1, outputs, 1, 1)))


def _positions(
    g: GraphBuilder, n: ForeignNode, offset: Value, axis: int, kernel: tuple[int, ...], size: Dim
) -> Value:
    """One coordinate [N, G, taps, oH, oW, 1] as `grid_sample` wants it: the outer edges of the image at -1 and 1."""
    stride = per_axis(n.attr("strides", ()), AXES, "strides")[axis]
    dilation = per_axis(n.attr("dilations", ()), AXES, "dilations")[axis]
    pad = per_axis(n.attr("pads", ()), 2 * AXES, "pads", 0)[axis]
    dtype, out = offset.type.dtype, offset.type.shape[4 + axis]
    tap = np.arange(kernel[0] * kernel[1])
    under = (tap // kernel[1], tap % kernel[1])[axis] * dilation - pad + 0.5
    starts = g.mul(g.cast(g.iota(count=out), dtype=dtype), float(stride))
    starts = g.reshape_to(starts, (out, 1) if axis == 0 else (1, out))
    regular = g.add(starts, g.constant(under.reshape(-1, 1, 1), dtype))
    moved = g.squeeze(g.slice(offset, starts=(axis,), ends=(axis + 1,), axes=(3,)), (3,))
    extent = g.cast(g.dims(np.array(size, dtype=object), dtypes.i64), dtype=dtype)
    scaled = g.sub(g.div(g.mul(g.add(moved, regular), 2.0), extent), 1.0)
    return g.unsqueeze(scaled, (scaled.type.rank,))
