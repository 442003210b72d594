"""Convolution over any number of spatial axes."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.core.shapes import AutoPad
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Value,
    bf16,
    example,
    f16,
    f32,
    from_onnx,
    from_torch,
    i8,
    op,
    u8,
)
from engineworks.ir.cases import Sample
from engineworks.ops._windows import filters_dtype, onnx_windows, over_batch, place_all, spread_axes, taps


@op("conv")
class Conv(Op):
    """Cross-correlation with groups: y[n, o, p] = b[o] + Σ w[o, c, k] x[n, g C/G + c, p s + k d - pad].

    Args:
        x: [N, C, spatial…] floating point, or i8 or u8.
        w: [O, C/groups, kernel…], same dtype, or another that `out_dtype` allows.
        b: [O], optional, of the result's dtype.
    Attributes:
        out_dtype: of the result; None: x's. f32 for floats of 16 and 32 bits in any pair, i32 for i8 and u8 in any
            pair (exact). f16 and bf16 accumulate in f32.
        strides, dilations: one for each spatial axis; empty: 1.
        pads: begin of every axis, then end of every axis; empty: 0.
        auto_pad: SAME_UPPER and SAME_LOWER only where the pads depend on sizes not known at build.
    """

    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    groups: int = 1
    auto_pad: AutoPad = "NOTSET"
    out_dtype: DType | None = None
    allow_tf32: bool = False

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, w, *rest = inputs
        assert x is not None and w is not None
        bias = rest[0] if rest else None
        dtype = filters_dtype(self.name, x, w, bias, self.out_dtype)
        outputs, per_group, *kernel = w.shape
        if outputs % self.groups or x.shape[1] != per_group * self.groups:
            raise InvalidModel(
                f"x has {x.shape[1]} channels; filters {w} with groups={self.groups} take {per_group * self.groups}"
            )
        if bias is not None and bias.shape != (outputs,):
            raise InvalidModel(f"the bias must have shape [{outputs}]; got {bias}")
        # pyrefly: ignore[bad-argument-type]
        placed = place_all(self, x.shape[2:], kernel)
        return (TensorType(dtype, (x.shape[0], outputs, *(p.out for p in placed))),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, w, *rest = inputs
        assert x is not None and w is not None
        out = x.dtype if self.out_dtype is None else self.out_dtype.numpy
        wide = out if x.dtype.kind in "iu" else np.float64
        groups, (outputs, per_group, *kernel) = self.groups, w.shape
        placed = place_all(self, x.shape[2:], kernel)
        # pyrefly: ignore[no-matching-overload]
        y = np.zeros((x.shape[0], outputs, *(p.out for p in placed)), wide)
        shape = (x.shape[0], groups, per_group, *y.shape[2:])
        for position, under in taps(x.astype(wide), self, kernel, placed, 0):
            filters = w[(slice(None), slice(None), *position)].astype(wide).reshape(groups, -1, per_group)
            y += np.einsum("goc,ngc...->ngo...", filters, under.reshape(shape), optimize=True).reshape(
                y.shape
            )
        if rest and rest[0] is not None:
            y += rest[0].astype(wide).reshape(-1, *[1] * len(kernel))
        return y if x.dtype == np.float64 else y.astype(out)

    examples = (
        example(f32(1, 3, 8, 9), f32(5, 3, 3, 3, constant=True), f32(5, constant=True), pads=(1, 1, 1, 1)),
        example(f32(2, 4, 7, 7), f32(6, 2, 3, 3), strides=(2, 2), groups=2),
        example(
            f32("N", 4, 10),
            f32(4, 1, 3, constant=True),
            groups=4,
            dilations=(2,),
            pads=(2, 2),
            dims={"N": (1, 3)},
        ),
        example(f32(1, 2, 4, 5, 6), f32(3, 2, 2, 3, 1, constant=True), pads=(0, 1, 0, 1, 1, 0)),
        example(
            f32(1, 16, "H", "W"),
            f32(32, 16, 3, 3, constant=True),
            strides=(2, 2),
            auto_pad="SAME_UPPER",
            dims={"H": (6, 9), "W": (5, 8)},
        ),
        example(
            u8("N", 5, 9, 8, high=255),
            i8(19, 5, 3, 3, low=-128, high=127, constant=True),
            Sample(dtypes.i32, (19,), low=-99, high=99, constant=True),
            pads=(1, 1, 1, 1),
            strides=(2, 1),
            out_dtype=dtypes.i32,
            dims={"N": (1, 2)},
        ),
        example(
            i8(1, 8, 6, 6, low=-128, high=127),
            i8(16, 4, 1, 1, low=-128, high=127),
            groups=2,
            out_dtype=dtypes.i32,
        ),
        example(
            bf16(1, 6, 7, 7),
            bf16(18, 6, 3, 3, constant=True),
            f32(18, constant=True),
            pads=(1, 1, 1, 1),
            out_dtype=dtypes.f32,
        ),
        example(f16(1, 4, 5, 6), f16(8, 1, 3, 3, constant=True), groups=4, out_dtype=dtypes.f32),
    )


@from_onnx("Conv")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, w = n[0], n[1]
    kernel = tuple(w.type.shape[2:])
    stated = n.attr("kernel_shape")
    if stated is not None and tuple(stated) != kernel:
        raise n.invalid(f"kernel_shape {tuple(stated)} does not fit filters of shape {w.type}")
    return g.conv(x, w, n[2], groups=n.attr("group", 1), **onnx_windows(n, x.type.shape[2:], kernel))


@from_torch("aten.convolution.default", "aten._convolution.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Both directions; lists of one number hold for all axes."""
    x, w, bias = n.arg("input"), n.arg("weight"), n.arg("bias")
    axes = w.type.rank - 2
    stride, padding, dilation, extra = (
        spread_axes(n.arg(name), axes) for name in ("stride", "padding", "dilation", "output_padding")
    )
    windows = {"strides": stride, "dilations": dilation, "pads": padding * 2, "groups": n.arg("groups")}
    if n.arg("transposed"):
        return over_batch(
            g, n, x, axes, lambda v: g.conv_transpose(v, w, bias, output_padding=extra, **windows)
        )
    return over_batch(g, n, x, axes, lambda v: g.conv(v, w, bias, **windows))


@from_torch("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
@from_torch("aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, w, bias = n.arg("input"), n.arg("weight"), n.arg("bias")
    axes = w.type.rank - 2
    stride, dilation = (spread_axes(n.arg(name), axes) for name in ("stride", "dilation"))
    pads = _pads(n, w, dilation)
    return over_batch(
        g, n, x, axes,
        lambda v: g.conv(v, w, bias, strides=stride, dilations=dilation, pads=pads, groups=n.arg("groups")),
    )  # fmt: skip


def _pads(n: ForeignNode, w: Value, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """'valid' pads nothing; 'same' keeps sizes, the larger half behind."""
    given = n.arg("padding")
    if given == "valid":
        return (0,) * (2 * len(dilation))
    if given != "same":
        return spread_axes(given, len(dilation)) * 2
    whole = [d * (int(k) - 1) for d, k in zip(dilation, w.type.shape[2:], strict=True)]  # type: ignore[arg-type]
    return (*(p // 2 for p in whole), *(p - p // 2 for p in whole))
