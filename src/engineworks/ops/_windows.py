"""What convolutions and poolings share: attributes per spatial axis, and numpy views of their windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate
from engineworks.core.dtypes import DType
from engineworks.core.shapes import AutoPad, Window, place_windows
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode
from engineworks.ir.graph import Value
from engineworks.ops._product_types import is_byte, product_dtype


class Windowed(Protocol):
    """An op whose windows slide over the spatial axes; empty attributes mean 1 (pads: 0) on every axis."""

    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def pads(self) -> tuple[int, ...]: ...
    @property
    def dilations(self) -> tuple[int, ...]: ...
    @property
    def auto_pad(self) -> AutoPad: ...


class Pool(Windowed, Protocol):
    """A windowed op whose kernel is an attribute."""

    @property
    def kernel(self) -> tuple[int, ...]: ...
    @property
    def ceil_mode(self) -> bool: ...


def per_axis(values: Sequence[int], axes: int, what: str, default: int = 1) -> tuple[int, ...]:
    """`values`, or `default` for every axis when there are none.

    Raises:
        InvalidModel: another number of values than axes.
    """
    if not values:
        return (default,) * axes
    if len(values) != axes:
        raise InvalidModel(
            f"{what} {tuple(values)} has {len(values)} values, but there are {axes} spatial axes"
        )
    return tuple(int(v) for v in values)


def place_all(
    op: Windowed, sizes: Sequence[Dim], kernel: Sequence[int], *, ceil_mode: bool = False
) -> tuple[Window, ...]:
    """Where the op's windows lie on each spatial axis.

    Raises:
        InvalidModel: attributes that do not fit the number of axes, or windows larger than the padded input.
    """
    axes = len(sizes)
    strides = per_axis(op.strides, axes, "strides")
    dilations = per_axis(op.dilations, axes, "dilations")
    pads = per_axis(op.pads, 2 * axes, "pads", 0)
    if min(strides, default=1) < 1 or min(dilations, default=1) < 1:
        raise InvalidModel(f"strides {strides} and dilations {dilations} must be positive")
    return tuple(
        place_windows(
            sizes[a],
            kernel[a],
            stride=strides[a],
            dilation=dilations[a],
            pads=(pads[a], pads[a + axes]),
            auto_pad=op.auto_pad,
            ceil_mode=ceil_mode,
        )
        for a in range(axes)
    )


def pooled_type(op: Pool, x: TensorType, *, floats_only: bool = False) -> TensorType:
    """What the pooling `op` makes of x[N, C, spatial…].

    Raises:
        InvalidModel: another rank than the window asks for, integers where `floats_only`, or what `place_all` raises.
    """
    rank = len(op.kernel) + 2
    if x.rank != rank or (floats_only and x.dtype.kind != "float"):
        wanted = "a float input" if floats_only else "an input"
        raise InvalidModel(f"a window of {op.kernel} needs {wanted} of rank {rank}; got {x}")
    placed = place_all(op, x.shape[2:], op.kernel, ceil_mode=op.ceil_mode)
    return TensorType(x.dtype, (*x.shape[:2], *(w.out for w in placed)))


def filters_dtype(
    name: str, x: TensorType, w: TensorType, bias: TensorType | None, out_dtype: DType | None
) -> DType:
    """The dtype of the result of the convolution op called `name`, whose operands are checked: one rank, dtypes that
    have a product (`product_dtype`), a bias of the result's dtype, filters of known shape.

    Raises:
        InvalidModel: what does not fit.
    """
    if x.rank < 3 or w.rank != x.rank:
        raise InvalidModel(f"{name} needs x and w of one rank, at least 3; got {x} and {w}")
    result = product_dtype(x.dtype, w.dtype, out_dtype)
    if not x.dtype.is_float and not (is_byte(x.dtype) and out_dtype is dtypes.i32):
        raise InvalidModel(f"{name} needs floats, or 8-bit integers with out_dtype i32; got {x} and {w}")
    if bias is not None and bias.dtype is not result:
        raise InvalidModel(f"the bias of {name} has the result's dtype {result}; got {bias}")
    if not all(isinstance(d, int) for d in w.shape):
        raise InvalidModel(f"the filters' shape must be known when the engine is built; got {w}")
    return result


def taps(
    x: np.ndarray, op: Windowed, kernel: Sequence[int], windows: Sequence[Window], fill: Any
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """For each position in the window: (position, the element of x[N, C, spatial…] under it for every output).

    Elements outside x are `fill`.
    """
    axes = len(kernel)
    strides, dilations = per_axis(op.strides, axes, "strides"), per_axis(op.dilations, axes, "dilations")
    out = [evaluate(w.out, {}) for w in windows]
    before = [evaluate(w.pad_before, {}) for w in windows]
    reach = [(out[a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 for a in range(axes)]
    after = [max(0, reach[a] - before[a] - x.shape[2 + a]) for a in range(axes)]
    lead = [max(b, 0) for b in before]
    padded = np.pad(x, [(0, 0), (0, 0), *zip(lead, after, strict=True)], constant_values=fill)
    start = [lead[a] - before[a] for a in range(axes)]
    for position in np.ndindex(*kernel):
        first = [start[a] + position[a] * dilations[a] for a in range(axes)]
        spatial = [slice(first[a], first[a] + (out[a] - 1) * strides[a] + 1, strides[a]) for a in range(axes)]
        yield position, padded[(slice(None), slice(None), *spatial)]


def onnx_windows(
    n: ForeignNode, sizes: Sequence[Dim], kernel: Sequence[int], *, ceil_mode: bool = False
) -> dict[str, Any]:
    """strides, pads, dilations, auto_pad of an ONNX node for our ops; SAME padding becomes pads where it is known.

    Raises:
        InvalidModel: an auto_pad that ONNX does not define.
    """
    auto_pad = n.attr("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise n.invalid(f"auto_pad '{auto_pad}' is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    axes = len(kernel)
    given: dict[str, Any] = {
        "strides": per_axis(n.attr("strides", ()), axes, "strides"),
        "dilations": per_axis(n.attr("dilations", ()), axes, "dilations"),
        "pads": (0,) * (2 * axes)
        if auto_pad != "NOTSET"
        else per_axis(n.attr("pads", ()), 2 * axes, "pads", 0),
        "auto_pad": "NOTSET" if auto_pad == "VALID" else auto_pad,
    }
    if given["auto_pad"] == "NOTSET":
        return given
    placed = place_all(_Attributes(**given), sizes, kernel, ceil_mode=ceil_mode)
    pads = (*(w.pad_before for w in placed), *(w.pad_after for w in placed))
    if all(isinstance(p, int) for p in pads):
        given |= {"pads": pads, "auto_pad": "NOTSET"}
    return given


class _Attributes:
    """Attributes before there is an op to hold them."""

    def __init__(
        self, strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...], auto_pad: AutoPad
    ) -> None:
        self.strides, self.pads, self.dilations, self.auto_pad = strides, pads, dilations, auto_pad


# -- torch ----------------------------------------------------------------------------------------------------
AXES = {"1d": 1, "2d": 2, "3d": 3}
"""Spatial axes by the end of an operator's name."""


def spread_axes(values: Sequence[int] | int, axes: int) -> tuple[int, ...]:
    """torch's number, or list of one, for every spatial axis."""
    given = (values,) if isinstance(values, int) else tuple(values)
    return given * axes if len(given) == 1 else given


def over_batch(g: GraphBuilder, n: ForeignNode, x: Value, axes: int, make: Callable[[Value], Value]) -> Value:
    """make(x), where torch lets the axis of the batch be left out before channels and `axes` spatial ones.

    Raises:
        UnsupportedOperator: x is not floating point.
    """
    if not x.type.dtype.is_float:
        raise n.unsupported(f"windows over {x.type.dtype}; cast to a floating dtype before")
    if x.type.rank == axes + 2:
        return make(x)
    return g.squeeze(make(g.unsqueeze(x, (0,))), (0,))


def pool_arguments(n: ForeignNode, axes: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(kernel, strides, padding before and after) of torch's pools; strides are the kernel's sizes unless given."""
    kernel = spread_axes(n.arg("kernel_size"), axes)
    stride = spread_axes(n.arg("stride"), axes) or kernel
    return kernel, stride, spread_axes(n.arg("padding"), axes)
