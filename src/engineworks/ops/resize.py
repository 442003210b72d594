"""Resampling along any axes: nearest, linear, cubic, in all of ONNX's coordinate systems."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_equal
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import Op, Reader, example, f32, op, u8
from engineworks.ir.scalar import Scalar, apply, cast, const, size, where
from engineworks.ops._resampling import (
    Coordinates,
    Rounding,
    cubic_weights,
    filter_matrix,
    nearest,
    source_position,
)
from engineworks.ops._views import ZERO

Mode = Literal["nearest", "linear", "cubic"]
Taps = list[tuple[Scalar | None, Scalar]]
"""(weight, index) of the source elements that one output element mixes; weight None: 1."""


@op("resize")
class Resize(Op):
    """x resampled to `sizes` (one for each axis; equal sizes and scale 1 leave an axis alone).

    Attributes:
        scales: resized / source length by axis; 0 (or empty): sizes / source sizes.
        roi: starts, then ends, as fractions, for coordinates 'tf_crop_and_resize'; elements outside of x are then
            `extrapolation`.
        cubic_a: the cubic filter's parameter.
        exclude_outside: cubic taps beyond the border weigh nothing, and the others sum to 1.
    """

    sizes: tuple[Dim, ...]
    scales: tuple[float, ...] = ()
    mode: Mode = "nearest"
    coordinates: Coordinates = "half_pixel"
    rounding: Rounding = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    roi: tuple[float, ...] = ()
    extrapolation: float = 0.0

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if (
            len(self.sizes) != x.rank
            or len(self.scales) not in (0, x.rank)
            or len(self.roi) not in (0, 2 * x.rank)
        ):
            raise InvalidModel(f"sizes {self.sizes}, scales {self.scales} or roi {self.roi} do not fit {x}")
        if x.dtype.kind in ("bool", "string") and self.mode != "nearest":
            raise InvalidModel(f"{x.dtype} cannot be interpolated; use mode 'nearest'")
        return (TensorType(x.dtype, self.sizes),)

    def axes(self, shape: Sequence[Dim]) -> list[int]:
        """The axes along which anything changes."""
        return [a for a in range(len(shape)) if not self._keeps(a, shape[a])]

    def _keeps(self, axis: int, extent: Dim) -> bool:
        whole = not self.roi or (self.roi[axis], self.roi[axis + len(self.sizes)]) == (0.0, 1.0)
        return whole and known_equal(extent, self.sizes[axis]) is True and self._scale(axis) in (0.0, 1.0)

    def _scale(self, axis: int) -> float:
        return self.scales[axis] if self.scales else 0.0

    def _roi(self, axis: int) -> tuple[float, float]:
        return (self.roi[axis], self.roi[axis + len(self.sizes)]) if self.roi else (0.0, 1.0)

    # -- numpy ------------------------------------------------------------------------------------------------
    def positions(self, axis: int, length: int) -> np.ndarray:
        """f64 source positions of all output elements along an axis."""
        count = int(self.sizes[axis])  # type: ignore[arg-type]
        scale = self._scale(axis) or count / length
        return np.asarray(
            source_position(
                np.arange(count, dtype=np.float64),
                scale,
                float(length),
                float(count),
                self.coordinates,
                self._roi(axis),
            )
        )

    def matrix(self, axis: int, length: int, *, antialias: bool = False) -> np.ndarray:
        """[outputs, length] f64 weights of the linear or cubic filter along an axis."""
        scale = self._scale(axis) or int(self.sizes[axis]) / length  # type: ignore[arg-type]
        return filter_matrix(self.positions(axis, length), length, scale, self.mode, self.cubic_a,
                             antialias=antialias, exclude_outside=self.exclude_outside)  # fmt: skip

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        out: np.ndarray = x if self.mode == "nearest" else x.astype(np.float64)
        beyond = np.zeros((), bool)
        for axis in self.axes(x.shape):
            length, position = x.shape[axis], self.positions(axis, x.shape[axis])
            if self.mode == "nearest":
                source = np.clip(nearest(position, self.rounding), 0, length - 1).astype(np.int64)
                out = np.take(out, source, axis=axis)
            else:
                out = np.moveaxis(np.tensordot(self.matrix(axis, length), out, (1, axis)), 0, axis)
            outside = (position < 0) | (position > length - 1)
            beyond = beyond | outside.reshape(-1, *[1] * (x.ndim - 1 - axis))
        if self.coordinates == "tf_crop_and_resize":
            out = np.where(beyond, self.extrapolation, out)
        if x.dtype.kind in "iu":
            limits = np.iinfo(x.dtype)
            out = np.clip(np.round(out), limits.min, limits.max)
        return out.astype(x.dtype)

    # -- scalars ----------------------------------------------------------------------------------------------
    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x = types[0]
        axes = self.axes(x.shape)
        taps: list[Taps] = []
        outside: list[Scalar] = []
        for axis in axes:
            found, position = self._taps(axis, index[axis], x.shape[axis])
            taps.append(found)
            if position is not None and self.coordinates == "tf_crop_and_resize":
                last = cast(size(x.shape[axis] - 1), dtypes.f64)
                outside += [apply("lt", position, const(0, dtypes.f64)), apply("lt", last, position)]
        compute = dtypes.f64 if x.dtype.name in ("f64", "i64", "i32", "u64", "u32") else dtypes.f32

        def mix(k: int, source: tuple[Scalar, ...]) -> Scalar:
            if k == len(axes):
                read = inputs[0](source)
                return read if self.mode == "nearest" else cast(read, compute)
            total: Scalar | None = None
            for weight, at in taps[k]:
                part = mix(k + 1, (*source[: axes[k]], at, *source[axes[k] + 1 :]))
                part = part if weight is None else part * cast(weight, compute)
                total = part if total is None else total + part
            assert total is not None
            return total

        out = mix(0, index)
        for condition in outside:
            out = where(condition, const(self.extrapolation, out.dtype), out)
        return _narrowed(out, x)

    def _taps(self, axis: int, index: Scalar, extent: Dim) -> tuple[Taps, Scalar | None]:
        """The source elements of output `index` along an axis, and its position where one was computed."""
        whole = self._whole_step(axis, index, extent)
        if whole is not None:
            return [(None, whole)], None
        position = self._position(axis, index, extent)
        if self.mode == "nearest":
            return [(None, _clamped(cast(nearest(position, self.rounding), dtypes.i64), extent))], position
        below = apply("floor", position)
        t = position - below
        base = cast(below, dtypes.i64)
        if self.mode == "linear":
            return [(1 - t, _clamped(base, extent)), (t, _clamped(base + 1, extent))], position
        weights = cubic_weights(t, self.cubic_a)
        indices = [base + k for k in (-1, 0, 1, 2)]
        if self.exclude_outside:
            weights = _inside_only(weights, indices, extent)
        return [(w, _clamped(i, extent)) for w, i in zip(weights, indices, strict=True)], position

    def _position(self, axis: int, index: Scalar, extent: Dim) -> Scalar:
        count, given = self.sizes[axis], self._scale(axis)
        static = isinstance(extent, int) and isinstance(count, int)
        length = float(extent) if static else cast(size(extent), dtypes.f64)  # type: ignore[arg-type]
        target = float(count) if static else cast(size(count), dtypes.f64)  # type: ignore[arg-type]
        scale = given or target / length
        if not static and not isinstance(scale, Scalar):
            scale = const(scale, dtypes.f64)
        return source_position(
            cast(index, dtypes.f64), scale, length, target, self.coordinates, self._roi(axis)
        )

    def _whole_step(self, axis: int, index: Scalar, extent: Dim) -> Scalar | None:
        """The nearest source index in integer arithmetic, where the scale is a whole number; else None."""
        count, given = self.sizes[axis], self._scale(axis)
        if self.mode != "nearest" or not isinstance(extent, int) or extent == 0 or not isinstance(count, int):
            ratio = given
        else:
            ratio = given or count / extent
        if (
            self.mode != "nearest"
            or ratio < 1
            or ratio != int(ratio)
            or known_equal(count, extent * int(ratio)) is not True
        ):
            return None
        pixel_centres = self.coordinates in (
            "half_pixel",
            "half_pixel_symmetric",
        ) and self.rounding.startswith("round")
        if pixel_centres or (self.coordinates == "asymmetric" and self.rounding == "floor"):
            return index // size(int(ratio))
        return None

    examples = (
        example(f32(1, 2, 3, 4), sizes=(1, 2, 6, 8)),
        example(f32(1, 2, 3, 4), sizes=(1, 2, 7, 3), mode="linear"),
        example(f32(1, 1, "H", 4), sizes=(1, 1, 6, 8), mode="linear", coordinates="align_corners", dims={"H": (3, 5)}),
        example(f32(1, 1, 4, 5), sizes=(1, 1, 9, 3), mode="cubic", exclude_outside=True),
        example(f32(1, 1, 4, 4), sizes=(1, 1, 3, 3), mode="linear", coordinates="tf_crop_and_resize",
                roi=(0.0, 0.0, 0.4, -0.2, 1.0, 1.0, 0.6, 1.3), extrapolation=10.0),
        example(u8(1, 1, 5, 5, high=255), sizes=(1, 1, 8, 3), rounding="ceil", coordinates="asymmetric"),
    )  # fmt: skip


def _clamped(index: Scalar, extent: Dim) -> Scalar:
    return apply("max", apply("min", index, size(extent - 1)), ZERO)


def _inside_only(weights: list[Scalar], indices: list[Scalar], extent: Dim) -> list[Scalar]:
    zero = const(0, dtypes.f64)
    kept = [
        where(apply("and", apply("le", ZERO, i), apply("lt", i, size(extent))), w, zero)
        for w, i in zip(weights, indices, strict=True)
    ]
    total = kept[0] + kept[1] + kept[2] + kept[3]
    divisor = where(apply("eq", total, zero), const(1, dtypes.f64), total)
    return [w / divisor for w in kept]


def _narrowed(value: Scalar, x: TensorType) -> Scalar:
    """The mixed value as x's dtype: integers are rounded and clamped."""
    if value.dtype is x.dtype or not x.dtype.is_integer:
        return cast(value, x.dtype)
    bits = x.dtype.bits
    low = -(1 << (bits - 1)) if x.dtype.kind == "int" else 0
    rounded = apply("round_even", value)
    clamped = apply(
        "max", apply("min", rounded, const(low + (1 << bits) - 1, value.dtype)), const(low, value.dtype)
    )
    return cast(clamped, x.dtype)
