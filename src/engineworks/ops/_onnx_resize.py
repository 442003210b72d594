"""ONNX Resize and Upsample, all opsets, spelled with our resize."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.shapes import normalize_axes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops.resize import Resize

LARGEST_DENOMINATOR = 1024


@from_onnx("Resize", since=11)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n[0].type
    axes = normalize_axes(n.attr("axes") or range(x.rank), x.rank)
    crops = n.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    roi = _roi(n, axes, x.rank) if crops else ()
    scales, sizes = _scales(n, 2, axes, x.rank), _sizes(n, axes, x.shape)
    if (scales is None) == (sizes is None):
        raise n.invalid("exactly one of scales and sizes must be given")
    if sizes is None:
        assert scales is not None
        sizes = tuple(
            _scaled(n, d, s, roi[a + x.rank] - roi[a] if roi else 1.0)
            for a, (d, s) in enumerate(zip(x.shape, scales, strict=True))
        )
    elif n.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        sizes, scales = _kept_aspect(n, sizes, axes, x.shape)
    return resized(g, n, sizes, scales or (), roi)


@from_onnx("Resize", since=10)
@from_onnx("Upsample", since=9)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Scales as the second input; positions are output index / scale, rounded down."""
    scales = _scales(n, 1, range(n[0].type.rank), n[0].type.rank)
    if scales is None:
        raise n.invalid("scales are missing")
    return _upsampled(g, n, scales)


@from_onnx("Upsample", since=7)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _upsampled(g, n, tuple(n.attr("scales")))


@from_onnx("Upsample", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _upsampled(g, n, (1.0, 1.0, n.attr("height_scale"), n.attr("width_scale")))


def _upsampled(g: GraphBuilder, n: ForeignNode, scales: Sequence[float]) -> Value:
    x = n[0].type
    sizes = tuple(_scaled(n, d, s, 1.0) for d, s in zip(x.shape, scales, strict=True))
    return resized(
        g, n, sizes, tuple(float(s) for s in scales), (), coordinates="asymmetric", rounding="floor"
    )


def resized(
    g: GraphBuilder,
    n: ForeignNode,
    sizes: tuple[Dim, ...],
    scales: tuple[float, ...],
    roi: tuple[float, ...],
    **chosen: Any,
) -> Value:
    """The node's attributes as one resize, or as products with filter matrices when it antialiases."""
    mode = {"bilinear": "linear"}.get(n.attr("mode", "nearest"), n.attr("mode", "nearest"))
    if mode not in ("nearest", "linear", "cubic"):
        raise n.unsupported(f"mode '{mode}' is not one of nearest, linear, cubic")
    options = {
        "coordinates": n.attr("coordinate_transformation_mode", "half_pixel"),
        "rounding": n.attr("nearest_mode", "round_prefer_floor"),
        "cubic_a": n.attr("cubic_coeff_a", -0.75),
        "exclude_outside": bool(n.attr("exclude_outside", 0)),
        "extrapolation": n.attr("extrapolation_value", 0.0),
    } | chosen
    # pyrefly: ignore[bad-argument-type]
    made = Resize(sizes=sizes, scales=scales, roi=roi, mode=mode, **options)
    if not made.axes(n[0].type.shape):
        return n[0]
    if n.attr("antialias", 0) and mode != "nearest":
        return antialiased(g, n, made)
    return g.add_node(made, [n[0]])[0]


def antialiased(g: GraphBuilder, n: ForeignNode, made: Resize) -> Value:
    """Along each axis a product with the filter's matrix, which needs sizes known at build."""
    x, dtype = n[0], n[0].type.dtype
    if not dtype.is_float:
        raise n.unsupported(f"antialias=1 of {dtype}; cast to f32 before")
    for axis in made.axes(x.type.shape):
        length = x.type.shape[axis]
        if not isinstance(length, int) or not isinstance(made.sizes[axis], int):
            raise n.unsupported(
                f"antialias=1 needs sizes known when the engine is built; axis {axis} goes from {length} "
                f"to {made.sizes[axis]}"
            )
        matrix = g.constant(made.matrix(axis, length, antialias=True), dtype)
        order = (*(a for a in range(x.type.rank) if a != axis), axis)
        back = tuple(order.index(a) for a in range(x.type.rank))
        x = g.transpose(g.matmul(g.transpose(x, perm=order), g.transpose(matrix, perm=(1, 0))), perm=back)
    return x


def _roi(n: ForeignNode, axes: Sequence[int], rank: int) -> tuple[float, ...]:
    """Starts, then ends, for all axes."""
    given = n.constant(1, "the region of interest")
    if given is None or given.size != 2 * len(axes):
        raise n.invalid("tf_crop_and_resize needs a start and an end for each axis")
    roi = [0.0] * rank + [1.0] * rank
    for k, axis in enumerate(axes):
        roi[axis], roi[axis + rank] = float(given[k]), float(given[k + len(axes)])
    return tuple(roi)


def _scales(n: ForeignNode, position: int, axes: Sequence[int], rank: int) -> tuple[float, ...] | None:
    given = n.constant(position, "scales")
    if given is None or not given.size:
        return None
    scales = [1.0] * rank
    for axis, scale in zip(axes, given.ravel(), strict=True):
        scales[axis] = float(scale)
    return tuple(scales)


def _sizes(n: ForeignNode, axes: Sequence[int], shape: Sequence[Dim]) -> tuple[Dim, ...] | None:
    given = n.dims(3, "sizes")
    if not given:
        return None
    sizes = list(shape)
    for axis, wanted in zip(axes, given, strict=True):
        sizes[axis] = wanted
    return tuple(sizes)


def _scaled(n: ForeignNode, extent: Dim, scale: float, part: float) -> Dim:
    """floor(extent * part * scale), in f32 as runtimes compute it: 10 * 0.7 is then 7, as the exporter meant."""
    if isinstance(extent, int):
        return int(np.floor(np.float32(extent) * np.float32(part) * np.float32(scale)))
    factor = Fraction(scale * part).limit_denominator(LARGEST_DENOMINATOR)
    if np.float32(factor.numerator / factor.denominator) != np.float32(scale * part):
        raise n.unsupported(
            f"size {extent} scaled by {scale}, which is no small fraction; give sizes, or fix the input's size"
        )
    return extent * factor.numerator // factor.denominator


def _kept_aspect(
    n: ForeignNode, sizes: Sequence[Dim], axes: Sequence[int], shape: Sequence[Dim]
) -> tuple[tuple[Dim, ...], tuple[float, ...]]:
    """Sizes and scales for keep_aspect_ratio_policy not_larger and not_smaller."""
    policy = n.attr("keep_aspect_ratio_policy")
    if not all(isinstance(sizes[a], int) and isinstance(shape[a], int) for a in axes):
        raise n.unsupported(f"keep_aspect_ratio_policy '{policy}' needs sizes known when the engine is built")
    factors = [int(sizes[a]) / int(shape[a]) for a in axes]  # type: ignore[arg-type]
    scale = min(factors) if policy == "not_larger" else max(factors)
    kept = tuple(int(scale * int(d) + 0.5) if a in axes else d for a, d in enumerate(shape))  # type: ignore[arg-type]
    return kept, tuple(scale if a in axes else 1.0 for a in range(len(shape)))
