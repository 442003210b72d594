"""Samples of an image at positions that a grid gives."""

from collections.abc import Sequence
from typing import Literal

from engineworks.core import dtypes
from engineworks.core.dims import Dim
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
from engineworks.ir.scalar import Scalar, apply, cast, const, size, where
from engineworks.ops._resampling import cubic_weights

Mode = Literal["linear", "nearest", "cubic"]
Padding = Literal["zeros", "border", "reflection"]
CUBIC_A = -0.75


@op("grid_sample")
class GridSample(Op):
    """out[n, c, *o] = x[n, c] at position grid[n, *o], whose coordinates go from -1 to 1, last axis first.

    Inputs: x [n, c, *spatial], grid [n, *out, rank of spatial]. With `align_corners` -1 and 1 are the centres of the
    corner elements, else their outer edges. Positions beyond the edges are brought back as `padding` says; with
    `folds_taps` only the places of the elements that the filter mixes are, and the position keeps its fraction.
    """

    mode: Mode = "linear"
    padding: Padding = "zeros"
    align_corners: bool = False
    folds_taps: bool = False

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, grid = inputs
        assert x is not None and grid is not None
        if x.rank < 3 or grid.rank != x.rank or grid.shape[-1] != x.rank - 2 or not grid.dtype.is_float:
            raise InvalidModel(f"a grid for {x} is [n, *out, {x.rank - 2}] floats, not {grid}")
        if not x.dtype.is_float and self.mode != "nearest":
            raise InvalidModel(f"{x.dtype} cannot be interpolated")
        return (TensorType(x.dtype, (*x.shape[:2], *grid.shape[1:-1])),)

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x, grid = types[:2]
        spatial = x.rank - 2
        compute = dtypes.f64 if dtypes.f64 in (x.dtype, grid.dtype) else dtypes.f32
        axes = []
        for a in range(spatial):
            at = (index[0], *index[2:], const(spatial - 1 - a, dtypes.i64))
            axes.append(self._taps(cast(inputs[1](at), compute), x.shape[2 + a]))

        def mix(a: int, source: tuple[Scalar, ...]) -> Scalar:
            if a == spatial:
                read = inputs[0]((*index[:2], *source))
                return read if self.mode == "nearest" else cast(read, compute)
            total: Scalar | None = None
            for weight, at, inside in axes[a]:
                part = mix(a + 1, (*source, at))
                part = part if inside is None else where(inside, part, const(0, part.dtype))
                part = part if weight is None else part * weight
                total = part if total is None else total + part
            assert total is not None
            return total

        return cast(mix(0, ()), x.dtype)

    def _taps(self, coordinate: Scalar, extent: Dim) -> list[tuple[Scalar | None, Scalar, Scalar | None]]:
        """(weight, index, whether it is inside; None where it always is) of the elements mixed along one axis."""
        kind = coordinate.dtype
        length = cast(size(extent), kind)
        if self.align_corners:
            position = (coordinate + 1) * ((length - 1) * 0.5)
            low, high = const(0, kind), length - 1
        else:
            position = ((coordinate + 1) * length - 1) * 0.5
            low, high = const(-0.5, kind), length - 0.5
        if self.mode == "nearest":
            position = apply("round_even", position)
        if not self.folds_taps:
            position = self._folded(position, low, high, length)
        if self.mode == "nearest":
            return [(None, *self._place(position, low, high, length, extent))]
        below = apply("floor", position)
        t = position - below
        weights = [1 - t, t] if self.mode == "linear" else cubic_weights(t, CUBIC_A)
        first = 0 if self.mode == "linear" else -1
        return [
            (w, *self._place(below + (first + k), low, high, length, extent)) for k, w in enumerate(weights)
        ]

    def _folded(self, position: Scalar, low: Scalar, high: Scalar, length: Scalar) -> Scalar:
        """Positions beyond the edges brought back, as the padding says."""
        if self.padding == "zeros":
            return position
        outside = apply("or", apply("lt", position, low), apply("lt", high, position))
        if self.padding == "border":
            moved = apply("max", apply("min", position, length - 1), const(0, position.dtype))
        else:
            moved = _reflected(position, low, high)
        return where(outside, moved, position)

    def _place(
        self, position: Scalar, low: Scalar, high: Scalar, length: Scalar, extent: Dim
    ) -> tuple[Scalar, Scalar | None]:
        """The element at a whole position: its index, which is always valid, and whether it counts."""
        zero, last = const(0, dtypes.i64), size(extent - 1)
        inside = None
        if self.padding == "zeros":
            inside = apply(
                "and", apply("le", const(0, position.dtype), position), apply("le", position, length - 1)
            )
        else:
            position = self._folded(position, low, high, length)
        # Clamped as integers too: a grid may hold NaN.
        return apply("max", apply("min", cast(position, dtypes.i64), last), zero), inside

    examples = (
        example(f32(2, 3, 5, 6), f32(2, 4, 7, 2, low=-1.3, high=1.3)),
        example(f32(1, 2, 4, 5), f32(1, 3, 3, 2, low=-1.5, high=1.5), padding="border", align_corners=True),
        example(f32(1, 2, 4, 5), f32(1, 3, 3, 2, low=-2.5, high=2.5), padding="reflection", mode="cubic"),
        example(
            f32(1, 2, 4, 5),
            f32(1, 3, 3, 2, low=-1.5, high=1.5),
            padding="border",
            mode="cubic",
            folds_taps=True,
        ),
        example(f32(1, 1, 3, 4, 5), f32(1, 2, 3, 2, 3, low=-1.2, high=1.2), mode="nearest"),
        example(f32(1, 1, "H", 5), f32(1, 3, 2, 2, low=-1.2, high=1.2), dims={"H": (2, 7)}),
    )


def _reflected(position: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """Mirrored at both edges until it is between them; at `low` where they coincide."""
    zero = const(0, position.dtype)
    span = high - low
    safe = where(apply("lt", zero, span), span, const(1, position.dtype))
    away = apply("abs", position - low)
    turns = apply("floor", away / safe)
    rest = away - turns * safe
    is_even = apply("eq", turns - apply("floor", turns * 0.5) * 2, zero)
    return where(apply("lt", zero, span), where(is_even, low + rest, high - rest), low)


@from_onnx("GridSample")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    given = n.attr("mode", "linear")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(given, given)
    padding = n.attr("padding_mode", "zeros")
    if mode not in ("linear", "nearest", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise n.invalid(f"mode '{given}' with padding_mode '{padding}' is not defined")
    return g.grid_sample(
        n[0], n[1], mode=mode, padding=padding, align_corners=bool(n.attr("align_corners", 0))
    )


MODES: tuple[Mode, ...] = ("linear", "nearest", "cubic")
PADDINGS: tuple[Padding, ...] = ("zeros", "border", "reflection")


@from_torch("aten.grid_sampler.default", "aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    mode = MODES[n.arg("interpolation_mode")]
    return g.grid_sample(
        n.arg("input"), n.arg("grid"), mode=mode, padding=PADDINGS[n.arg("padding_mode")],
        align_corners=bool(n.arg("align_corners")), folds_taps=mode == "cubic",
    )  # fmt: skip
