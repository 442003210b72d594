"""Shape arithmetic over Dims: broadcasting, strides, reshapes, windows, slices.

Every function works for plain integers and for symbolic sizes; what bounds cannot decide raises `Undecided`
or, where a function takes a `Scope`, becomes a check at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engineworks.core.dims import (
    Dim,
    Scope,
    active_scope,
    ceil_div,
    dim_max,
    dim_min,
    known_at_most,
    known_equal,
    product,
)
from engineworks.errors import InvalidModel, Undecided

Shape = tuple[Dim, ...]
AutoPad = Literal["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


def normalize_axis(axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        InvalidModel: not in [-rank, rank).
    """
    if not -rank <= axis < rank:
        raise InvalidModel(
            f"axis {axis} does not exist in a tensor of rank {rank}: use {-rank} to {rank - 1}"
        )
    return axis % rank


def normalize_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """The axes counted from the front, in the order given.

    Raises:
        InvalidModel: an axis out of range, or given twice.
    """
    out = tuple(normalize_axis(a, rank) for a in axes)
    if len(set(out)) != len(out):
        raise InvalidModel(f"axes {tuple(axes)} name the same axis twice in a tensor of rank {rank}")
    return out


def row_major_strides(shape: Sequence[Dim]) -> Shape:
    """Elements between neighbours along each axis, the last axis innermost."""
    out: list[Dim] = []
    step: Dim = 1
    for d in reversed(shape):
        out.append(step)
        step = step * d
    return tuple(reversed(out))


def broadcast(*shapes: Sequence[Dim], scope: Scope | None = None) -> Shape:
    """The common shape by numpy's rule: aligned at the last axis, sizes equal or 1.

    Args:
        scope: where sizes that may differ are recorded as equal; a symbol is then never stretched from 1.
            Without it they raise.
    Raises:
        InvalidModel: sizes that are never equal; says which axis.
        Undecided: sizes that may differ, without a scope.
    """
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = []
    for axis in range(-rank, 0):
        common: Dim = 1
        for shape in shapes:
            if len(shape) >= -axis:
                common = _broadcast_size(common, shape[axis], axis, shapes, scope)
        out.append(common)
    return tuple(out)


def _broadcast_size(a: Dim, b: Dim, axis: int, shapes: Sequence[Sequence[Dim]], scope: Scope | None) -> Dim:
    if a == b or known_equal(b, 1):
        return a
    if known_equal(a, 1):
        return b
    where = f"cannot broadcast {' with '.join(shape_text(s) for s in shapes)}: axis {axis}"
    match known_equal(a, b):
        case True:
            return a if isinstance(a, int) else b
        case False if known_equal(a, 1) is False and known_equal(b, 1) is False:
            raise InvalidModel(f"{where} has sizes {a} and {b}, which differ and neither is 1")
    scope = scope or active_scope()
    if scope is None:
        raise Undecided(f"{where} has sizes {a} and {b}, which may differ. Narrow the profile's ranges.")
    kept, other = (a, b) if isinstance(a, int) else (b, a)
    scope.require(other, kept, where)
    return kept


def shape_text(shape: Sequence[Dim]) -> str:
    """'[B, 3, 224]'."""
    return f"[{', '.join(str(d) for d in shape)}]"


def solve_reshape(
    input_shape: Sequence[Dim],
    requested: Sequence[Dim],
    *,
    allow_zero: bool = False,
    scope: Scope | None = None,
    why: str = "reshape",
) -> Shape:
    """The shape that a reshape gives: -1 is what is left over, 0 copies the input's size unless `allow_zero`.

    Args:
        scope: where an element count that may differ is recorded as a check; without it that raises.
        why: names the reshape in messages.
    Raises:
        InvalidModel: two -1, a 0 beyond the input's rank, -1 next to a zero size, or counts that never agree.
        Undecided: counts that may differ, without a scope.
    """
    where = f"{why}: cannot reshape {shape_text(input_shape)} to {shape_text(requested)}"
    out = [_copied(d, axis, input_shape, where, allow_zero) for axis, d in enumerate(requested)]
    free = [axis for axis, d in enumerate(out) if d == -1]
    if len(free) > 1:
        raise InvalidModel(f"{where}: only one size may be -1")
    bad = [d for d in out if isinstance(d, int) and d < -1]
    if bad:
        raise InvalidModel(f"{where}: a size cannot be {bad[0]}")
    count = product(input_shape)
    if free:
        rest = product(d for d in out if d != -1)
        if rest == 0:
            raise InvalidModel(f"{where}: -1 is not defined beside a size of 0")
        out[free[0]] = count // rest
    _require_count(count, product(out), where, scope)
    return tuple(out)


def _copied(d: Dim, axis: int, input_shape: Sequence[Dim], where: str, allow_zero: bool) -> Dim:
    if d != 0 or allow_zero:
        return d
    if axis >= len(input_shape):
        raise InvalidModel(f"{where}: the 0 at axis {axis} copies a size, but the input has no such axis")
    return input_shape[axis]


def _require_count(count: Dim, made: Dim, where: str, scope: Scope | None) -> None:
    if scope is not None:
        scope.require(count, made, where)
        return
    match known_equal(count, made):
        case False:
            raise InvalidModel(f"{where}: {count} elements cannot become {made}")
        case None:
            raise Undecided(f"{where}: {count} elements may not be {made}. Narrow the profile's ranges.")


@dataclass(frozen=True, slots=True)
class Window:
    """Where the windows of a convolution or pooling lie along one axis.

    Attributes:
        out: number of windows.
        pad_before, pad_after: elements of padding. With ceil_mode the last window may reach further still.
    """

    out: Dim
    pad_before: Dim
    pad_after: Dim


def window_extent(kernel: Dim, dilation: int = 1) -> Dim:
    """Elements from the first to the last tap: (kernel - 1) * dilation + 1."""
    return (kernel - 1) * dilation + 1


def place_windows(
    size: Dim,
    kernel: Dim,
    *,
    stride: int = 1,
    dilation: int = 1,
    pads: tuple[Dim, Dim] = (0, 0),
    auto_pad: AutoPad = "NOTSET",
    ceil_mode: bool = False,
) -> Window:
    """Windows of a convolution or pooling along one axis, as ONNX (Conv-22, MaxPool-22) defines them.

    ceil_mode keeps a last partial window only if it starts inside the input or the padding before it, as both
    PyTorch and ONNX since opset 19 do.

    Raises:
        InvalidModel: the window is larger than the padded input, for all sizes.
    """
    extent = window_extent(kernel, dilation)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        out = ceil_div(size, stride)
        total = dim_max((out - 1) * stride + extent - size, 0)
        small = total // 2
        pads = (small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small)
        return Window(out, *pads)
    before, after = (0, 0) if auto_pad == "VALID" else pads
    span = size + before + after - extent
    if known_at_most(span, -1):
        raise InvalidModel(
            f"a window of {extent} (kernel {kernel}, dilation {dilation}) does not fit "
            f"a size of {size} padded by {before} and {after}"
        )
    out = span // stride + 1
    if ceil_mode:
        # The last window must start before the end of the input: (out - 1) * stride < size + before.
        out = dim_min(ceil_div(span, stride) + 1, ceil_div(size + before, stride))
    return Window(out, before, after)


def transposed_size(
    size: Dim,
    kernel: Dim,
    *,
    stride: int = 1,
    dilation: int = 1,
    pads: tuple[Dim, Dim] = (0, 0),
    output_padding: int = 0,
) -> Dim:
    """Output size of a transposed convolution along one axis (ONNX ConvTranspose-22)."""
    return (size - 1) * stride + output_padding + window_extent(kernel, dilation) - pads[0] - pads[1]


def transposed_pads(
    size: Dim, kernel: Dim, out: Dim, *, stride: int, dilation: int, output_padding: int, auto_pad: AutoPad
) -> tuple[Dim, Dim]:
    """The padding for which a transposed convolution gives size `out`; SAME_UPPER pads more at the end."""
    total = (size - 1) * stride + output_padding + window_extent(kernel, dilation) - out
    small = total // 2
    return (small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small)


def slice_bounds(start: Dim, stop: Dim, step: int, size: Dim) -> tuple[Dim, Dim]:
    """First element and number of elements of `x[start:stop:step]` along an axis of `size`, as numpy counts.

    Negative start and stop count from the end; both are clamped. INT_MIN and INT_MAX as open ends work.

    Raises:
        InvalidModel: step is 0.
        Undecided: start or stop may be negative or not.
    """
    if step == 0:
        raise InvalidModel("a slice cannot have step 0")
    low, high = (0, size) if step > 0 else (-1, size - 1)
    first = _clamped(start, low, high, size)
    last = _clamped(stop, low, high, size)
    span = last - first if step > 0 else first - last
    return first, dim_max(ceil_div(span, abs(step)), 0)


OPEN_END = 2**31 - 1
"""Exporters write an open end of a slice as this, or as anything larger; no symbolic size reaches it."""


def _clamped(position: Dim, low: Dim, high: Dim, size: Dim) -> Dim:
    negative = bool(position < 0)
    if isinstance(position, int) and abs(position) >= OPEN_END and not isinstance(size, int):
        return low if negative else high
    return dim_max(dim_min(position + size if negative else position, high), low)


def slice_size(start: Dim, stop: Dim, step: int, size: Dim) -> Dim:
    """Number of elements of `x[start:stop:step]` along an axis of `size`."""
    return slice_bounds(start, stop, step, size)[1]
