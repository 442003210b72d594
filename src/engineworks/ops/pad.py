"""Elements added around x (or, with negative pads, taken off)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from engineworks.core.dims import Dim, dim_max
from engineworks.core.shapes import normalize_axes
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Reader,
    Value,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
)
from engineworks.ir.scalar import Scalar, apply, size, where
from engineworks.ops._axes import ints_of
from engineworks.ops._slices import sliced
from engineworks.ops._torch import in_dtype
from engineworks.ops._views import ZERO, plain

Mode = Literal["constant", "reflect", "edge", "wrap"]


@op("pad")
class Pad(Op):
    """`before[a]` and `after[a]` elements on axis a; negative numbers take elements off.

    `mode`: constant (input 1, a scalar, fills), edge (the border repeats), reflect (mirrored without the border),
    wrap (as if x were repeated for ever).
    """

    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    mode: Mode = "constant"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x = inputs[0]
        assert x is not None
        if not len(self.before) == len(self.after) == x.rank:
            raise InvalidModel(f"pads {self.before} and {self.after} do not fit {x}")
        if (self.mode == "constant") != (len(inputs) == 2):
            raise InvalidModel("a fill value belongs to mode 'constant', and only to it")
        shape = tuple(b + d + a for b, d, a in zip(self.before, x.shape, self.after, strict=True))
        if any(isinstance(d, int) and d < 0 for d in shape):
            raise InvalidModel(f"pads {self.before} and {self.after} take more off than {x} has")
        return (TensorType(x.dtype, shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        outside = np.zeros((), bool)
        for axis, (before, after) in enumerate(zip(self.before, self.after, strict=True)):
            extent = x.shape[axis]
            position = np.arange(-plain(before), extent + plain(after))
            x = np.take(x, _source_numpy(position, extent, self.mode), axis=axis) if extent else np.zeros(
                (*x.shape[:axis], len(position), *x.shape[axis + 1 :]), x.dtype)  # fmt: skip
            off = ((position < 0) | (position >= extent)).reshape(-1, *[1] * (len(self.before) - 1 - axis))
            outside = outside | off
        return np.where(outside, np.asarray(inputs[1]).reshape(()), x) if self.mode == "constant" else x

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        source: list[Scalar] = []
        inside: list[Scalar] = []
        for axis, extent in enumerate(types[0].shape):
            before, after = self.before[axis], self.after[axis]
            position = index[axis] - size(before)
            if before == 0 == after:
                source.append(index[axis])
            elif self.mode == "constant":
                source.append(position)
                inside += [] if _never_positive(before) else [apply("le", ZERO, position)]
                inside += [] if _never_positive(after) else [apply("lt", position, size(extent))]
            else:
                source.append(_source_scalar(position, extent, self.mode))
        read = inputs[0](tuple(source))
        for condition in inside[::-1]:
            read = where(condition, read, inputs[1](()))
        return read

    examples = (
        example(f32(2, 3), f32(values=1.5), before=(1, 0), after=(0, 2)),
        example(f32(4, 5), before=(0, 3), after=(0, 4), mode="reflect"),
        example(f32("N", 3), before=(0, 2), after=(1, 5), mode="edge", dims={"N": (1, 3)}),
        example(f32(3, 4), before=(4, 1), after=(2, 9), mode="wrap"),
        example(f32(5, 6), f32(values=0), before=(-1, 2), after=(-2, -3)),
    )


def _never_positive(pad: Dim) -> bool:
    return isinstance(pad, int) and pad <= 0


def _source_numpy(position: np.ndarray, extent: int, mode: Mode) -> np.ndarray:
    if mode == "wrap":
        return position % extent
    if mode == "reflect" and extent > 1:
        period = 2 * (extent - 1)
        folded = position % period
        return np.minimum(folded, period - folded)
    return np.clip(position, 0, extent - 1)


def _source_scalar(position: Scalar, extent: Dim, mode: Mode) -> Scalar:
    if mode == "wrap":
        return position % size(extent)
    last = size(extent - 1)
    if mode == "reflect" and extent != 1:
        # A size that may be 1 has period 0 there; its only element is then taken whatever the remainder by 1 is.
        period = apply("max", size(2 * (extent - 1)), ZERO + 1)
        folded = position % period
        return apply("max", apply("min", apply("min", folded, period - folded), last), ZERO)
    return apply("max", apply("min", position, last), ZERO)


@from_onnx("Pad", since=2)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    pads = n.dims(1, "the pads") if len(n) > 1 else tuple(n.attr("pads", ()))
    assert pads is not None
    fill = n[2] if n[2] is not None else n.attr("value", 0)
    axes = ints_of(n, 3, "axes")
    return padded(g, n, pads, fill, axes)


@from_onnx("Pad", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return padded(g, n, tuple(n.attr("paddings", ())), n.attr("value", 0), None)


def padded(
    g: GraphBuilder, n: ForeignNode, pads: Sequence[Dim], fill: Value | float, axes: tuple[int, ...] | None
) -> Value:
    """ONNX's pads (all befores, then all afters) on `axes` (None: all)."""
    x, mode = n[0], n.attr("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise n.invalid(f"mode '{mode}' is not one of constant, reflect, edge, wrap")
    where_ = tuple(range(x.type.rank)) if axes is None else normalize_axes(axes, x.type.rank)
    if len(pads) != 2 * len(where_):
        raise n.invalid(f"{len(pads)} pads for {len(where_)} axes")
    before: list[Dim] = [0] * x.type.rank
    after: list[Dim] = [0] * x.type.rank
    for k, axis in enumerate(where_):
        before[axis], after[axis] = pads[k], pads[k + len(where_)]
    if all(p == 0 for p in pads):
        return x
    if mode != "constant":
        return g.pad(x, before=tuple(before), after=tuple(after), mode=mode)
    value = g.reshape_to(fill, ()) if isinstance(fill, Value) else g.constant(np.asarray(fill), x.type.dtype)
    return g.pad(x, value, before=tuple(before), after=tuple(after))


@from_torch("aten.constant_pad_nd.default", "aten.pad.default")
@from_torch("aten.reflection_pad1d.default", "aten.reflection_pad2d.default", "aten.reflection_pad3d.default")
@from_torch(
    "aten.replication_pad1d.default", "aten.replication_pad2d.default", "aten.replication_pad3d.default"
)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Pads come in pairs, those of the last axis first."""
    x = n.arg("self")
    pads = n.arg("padding" if "padding" in n.foreign.attributes else "pad")
    before: list[Dim] = [0] * x.type.rank
    after: list[Dim] = [0] * x.type.rank
    for k in range(len(pads) // 2):
        before[-1 - k], after[-1 - k] = pads[2 * k], pads[2 * k + 1]
    if all(p == 0 for p in pads):
        return x
    mode = _torch_mode(n)
    if mode == "wrap":
        x, before, after = _cropped(g, x, before, after)
    if mode != "constant":
        return g.pad(x, before=tuple(before), after=tuple(after), mode=mode)
    value = n.arg("value")
    fill = in_dtype(g, 0 if value is None else value, x.type.dtype)
    return g.pad(x, fill, before=tuple(before), after=tuple(after))


def _cropped(
    g: GraphBuilder, x: Value, before: Sequence[Dim], after: Sequence[Dim]
) -> tuple[Value, list[Dim], list[Dim]]:
    """x without what negative pads take off, and the others: torch wraps around what is left."""
    axes = tuple(range(x.type.rank))
    starts = tuple(dim_max(-b, 0) for b in before)
    ends = tuple(d - dim_max(-a, 0) for a, d in zip(after, x.type.shape, strict=True))
    left = sliced(g, x, starts, ends, axes)
    return left, [dim_max(b, 0) for b in before], [dim_max(a, 0) for a in after]


def _torch_mode(n: ForeignNode) -> Mode:
    """Our name of the mode, which is an argument or part of the operator's name."""
    if "mode" in n.foreign.attributes:
        modes: dict[str, Mode] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
        return modes.get(n.arg("mode"), "constant")
    if "reflection" in n.foreign.kind:
        return "reflect"
    return "edge" if "replication" in n.foreign.kind else "constant"
