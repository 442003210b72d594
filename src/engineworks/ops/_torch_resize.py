"""torch's upsampling operators, spelled with our resize."""

from __future__ import annotations

from engineworks.core.dims import Dim
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._onnx_resize import antialiased
from engineworks.ops.resize import Resize


@from_torch("aten.upsample_nearest1d.vec", "aten.upsample_nearest2d.vec", "aten.upsample_nearest3d.vec")
@from_torch(
    "aten.upsample_nearest1d.default", "aten.upsample_nearest2d.default", "aten.upsample_nearest3d.default"
)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Element floor(i / scale)."""
    sizes, scales = _sizes(n), _scales(n)
    made = Resize(sizes, scales, "nearest", "asymmetric", "floor")
    return _resized(g, n, made)


@from_torch("aten._upsample_nearest_exact1d.vec", "aten._upsample_nearest_exact2d.vec")
@from_torch("aten._upsample_nearest_exact1d.default", "aten._upsample_nearest_exact2d.default")
@from_torch("aten._upsample_nearest_exact3d.vec", "aten._upsample_nearest_exact3d.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Element floor((i + 1/2) / scale)."""
    made = Resize(_sizes(n), _scales(n), "nearest", "half_pixel", "round_prefer_ceil")
    return _resized(g, n, made)


@from_torch("aten.upsample_linear1d.vec", "aten.upsample_bilinear2d.vec", "aten.upsample_trilinear3d.vec")
@from_torch(
    "aten.upsample_linear1d.default", "aten.upsample_bilinear2d.default", "aten.upsample_trilinear3d.default"
)
@from_torch("aten.upsample_bicubic2d.vec", "aten.upsample_bicubic2d.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    mode = "cubic" if "bicubic" in n.foreign.kind else "linear"
    if not n[0].type.dtype.is_float:
        raise n.unsupported(
            f"interpolation of {n[0].type.dtype}, which torch rounds between axes; cast to f32 before"
        )
    if n.arg("align_corners"):
        return _resized(g, n, Resize(_sizes(n), (), mode, "align_corners"))
    return _resized(g, n, Resize(_sizes(n), _scales(n), mode, "half_pixel"))


@from_torch("aten._upsample_bilinear2d_aa.vec", "aten._upsample_bilinear2d_aa.default")
@from_torch("aten._upsample_bicubic2d_aa.vec", "aten._upsample_bicubic2d_aa.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Filters that stretch where the image shrinks; the cubic one has another parameter then (-1/2, as in Pillow)."""
    if n.arg("align_corners"):
        raise n.unsupported("align_corners beside antialiasing")
    mode = "cubic" if "bicubic" in n.foreign.kind else "linear"
    made = Resize(_sizes(n), _scales(n), mode, "half_pixel", cubic_a=-0.5, exclude_outside=True)
    return antialiased(g, n, made) if made.axes(n[0].type.shape) else n[0]


def _resized(g: GraphBuilder, n: ForeignNode, made: Resize) -> Value:
    return g.add_node(made, [n[0]])[0] if made.axes(n[0].type.shape) else n[0]


def _sizes(n: ForeignNode) -> tuple[Dim, ...]:
    """Those of the result; batch and channels stay."""
    return (*n[0].type.shape[:2], *n.result_shape()[2:])


def _scales(n: ForeignNode) -> tuple[float, ...]:
    """Factors by axis where the model gives them; () stands for sizes by sizes."""
    given = n.foreign.attributes
    if "scale_factors" in given:
        factors = n.arg("scale_factors")
    else:
        factors = [n.arg(name) for name in ("scales", "scales_d", "scales_h", "scales_w") if name in given]
    if not factors or all(f is None for f in factors):
        return ()
    return (1.0, 1.0, *(0.0 if f is None else float(f) for f in factors))
