"""Transposed convolution: the gradient of a convolution with respect to its input."""

from collections.abc import Mapping

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.shapes import AutoPad, transposed_pads, transposed_size
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, op
from engineworks.ops._windows import filters_dtype, over_batch, per_axis, spread_axes


@op("conv_transpose")
class ConvTranspose(Op):
    """y[n, o, i s + k d - pad] += w[c, o, k] x[n, c, i], then + b[o].

    Args:
        x: [N, C, spatial…] floating point.
        w: [C, O/groups, kernel…], same dtype, or another that `out_dtype` allows.
        b: [O], optional, of the result's dtype.
    Attributes:
        strides, dilations: one for each spatial axis; empty: 1.
        pads: cut from the begin of every axis, then from the end of every axis; empty: 0. May be negative.
        output_padding: added to the end of each axis; empty: 0.
        out_dtype: of the result, as of `conv`.
    """

    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    groups: int = 1
    output_padding: tuple[int, ...] = ()
    out_dtype: DType | None = None
    allow_tf32: bool = False

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, w, *rest = inputs
        assert x is not None and w is not None
        bias = rest[0] if rest else None
        dtype = filters_dtype(self.name, x, w, bias, self.out_dtype)
        channels, per_group, *kernel = w.shape
        if x.shape[1] != channels or channels % self.groups:
            raise InvalidModel(
                f"x has {x.shape[1]} channels; filters {w} with groups={self.groups} take {channels}"
            )
        if bias is not None and bias.shape != (per_group * self.groups,):
            raise InvalidModel(f"the bias must have shape [{per_group * self.groups}]; got {bias}")
        # pyrefly: ignore[bad-argument-type]
        return (TensorType(dtype, (x.shape[0], per_group * self.groups, *self.sizes(x.shape[2:], kernel))),)

    def sizes(self, sizes: tuple[Dim, ...], kernel: list[int]) -> tuple[Dim, ...]:
        """Spatial sizes of the output."""
        axes = len(kernel)
        strides, dilations = (
            per_axis(self.strides, axes, "strides"),
            per_axis(self.dilations, axes, "dilations"),
        )
        pads, extra = (
            per_axis(self.pads, 2 * axes, "pads", 0),
            per_axis(self.output_padding, axes, "output_padding", 0),
        )
        return tuple(
            transposed_size(
                sizes[a],
                kernel[a],
                stride=strides[a],
                dilation=dilations[a],
                pads=(pads[a], pads[a + axes]),
                output_padding=extra[a],
            )
            for a in range(axes)
        )

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, w, *rest = inputs
        assert x is not None and w is not None
        groups, (channels, per_group, *kernel) = self.groups, w.shape
        axes = len(kernel)
        strides, dilations = (
            per_axis(self.strides, axes, "strides"),
            per_axis(self.dilations, axes, "dilations"),
        )
        pads, out = per_axis(self.pads, 2 * axes, "pads", 0), self.sizes(x.shape[2:], kernel)
        lead = [max(0, -p) for p in pads[:axes]]
        reach = [(x.shape[2 + a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 for a in range(axes)]
        room = [max(lead[a] + reach[a], lead[a] + pads[a] + out[a]) for a in range(axes)]
        # pyrefly: ignore[no-matching-overload]
        full = np.zeros((x.shape[0], groups * per_group, *room))
        source = x.astype(np.float64).reshape(x.shape[0], groups, channels // groups, *x.shape[2:])
        filters = w.astype(np.float64).reshape(groups, channels // groups, per_group, *kernel)
        for position in np.ndindex(*kernel):
            part = np.einsum("gco,ngc...->ngo...", filters[(..., *position)], source, optimize=True)
            first = [lead[a] + position[a] * dilations[a] for a in range(axes)]
            spatial = [
                slice(first[a], first[a] + (x.shape[2 + a] - 1) * strides[a] + 1, strides[a])
                for a in range(axes)
            ]
            full[(slice(None), slice(None), *spatial)] += part.reshape(
                x.shape[0], groups * per_group, *x.shape[2:]
            )
        kept = [slice(lead[a] + pads[a], lead[a] + pads[a] + out[a]) for a in range(axes)]
        y = full[(slice(None), slice(None), *kept)]
        if rest and rest[0] is not None:
            y = y + rest[0].astype(np.float64).reshape(-1, *[1] * axes)
        out_type = x.dtype if self.out_dtype is None else self.out_dtype.numpy
        return y if x.dtype == np.float64 else y.astype(out_type)

    examples = (
        example(
            f32(1, 3, 4, 5),
            f32(3, 2, 3, 3, constant=True),
            f32(2, constant=True),
            strides=(2, 2),
            pads=(1, 1, 1, 1),
        ),
        example(
            f32("N", 4, 3, 3),
            f32(4, 3, 2, 2),
            groups=2,
            strides=(2, 2),
            output_padding=(1, 0),
            dims={"N": (1, 2)},
        ),
        example(f32(1, 2, 6), f32(2, 2, 3, constant=True), dilations=(2,)),
    )


@from_onnx("ConvTranspose")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    axes = n[1].type.rank - 2
    stated: dict[str, tuple[int, ...]] = {
        "strides": per_axis(n.attr("strides", ()), axes, "strides"),
        "dilations": per_axis(n.attr("dilations", ()), axes, "dilations"),
        "output_padding": per_axis(n.attr("output_padding", ()), axes, "output_padding", 0),
        "pads": per_axis(n.attr("pads", ()), 2 * axes, "pads", 0),
    }
    auto_pad = n.attr("auto_pad", "NOTSET")
    if auto_pad == "VALID":
        stated["pads"] = (0,) * (2 * axes)
    if n.attr("output_shape") is not None or auto_pad.startswith("SAME"):
        stated["pads"] = _pads_for_sizes(n, stated, auto_pad)
    return g.conv_transpose(n[0], n[1], n[2], groups=n.attr("group", 1), **stated)


def _pads_for_sizes(
    n: ForeignNode, stated: Mapping[str, tuple[int, ...]], auto_pad: AutoPad
) -> tuple[int, ...]:
    """What to cut, so that the output has the sizes of `output_shape`, else stride times those of x.

    Raises:
        UnsupportedOperator: the pads depend on sizes that are not known at build.
    """
    sizes, kernel, wanted = n[0].type.shape[2:], n[1].type.shape[2:], n.attr("output_shape")
    axes = len(kernel)
    multiples = [s * f for s, f in zip(sizes, stated["strides"], strict=True)]
    targets = multiples if wanted is None else tuple(wanted)[-axes:]
    cut = [
        transposed_pads(
            sizes[a],
            kernel[a],
            targets[a],
            stride=stated["strides"][a],
            dilation=stated["dilations"][a],
            output_padding=stated["output_padding"][a],
            auto_pad=auto_pad,
        )
        for a in range(axes)
    ]
    pads = [*(before for before, _ in cut), *(after for _, after in cut)]
    known = tuple(p for p in pads if isinstance(p, int))
    if len(known) < len(pads):
        raise n.unsupported("an output_shape beside sizes that are not known at build gives pads that vary")
    return known


@from_torch("aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, w, bias = n.arg("input"), n.arg("weight"), n.arg("bias")
    axes = w.type.rank - 2
    stride, padding, dilation, extra = (
        spread_axes(n.arg(name), axes) for name in ("stride", "padding", "dilation", "output_padding")
    )
    return over_batch(
        g, n, x, axes,
        lambda v: g.conv_transpose(
            v, w, bias, strides=stride, pads=padding * 2, dilations=dilation, output_padding=extra,
            groups=n.arg("groups"),
        ),
    )  # fmt: skip
