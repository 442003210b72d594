"""Shapes against numpy and against counting by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engineworks.core.dims import Scope, evaluate, symbol
from engineworks.core.shapes import (
    broadcast,
    normalize_axes,
    normalize_axis,
    place_windows,
    row_major_strides,
    slice_bounds,
    slice_size,
    solve_reshape,
    transposed_pads,
    transposed_size,
)
from engineworks.errors import InvalidModel, Undecided

B = symbol("B", 1, 8)
S = symbol("S", 2, 512)


@pytest.mark.parametrize(
    "shapes", [((2, 3), (3,)), ((1,), (4, 1, 2)), ((), (5,)), ((0, 1), (1, 3)), ((2, 1, 3), (4, 1), (1,))]
)
def test_broadcast_is_numpys(shapes: tuple[tuple[int, ...], ...]) -> None:
    assert broadcast(*shapes) == np.broadcast_shapes(*shapes)


def test_broadcast_keeps_equal_symbols_and_stretches_ones() -> None:
    assert broadcast((B, S, 1), (1, 64)) == (B, S, 64)
    assert broadcast((B, 1, S), (B, 3, S)) == (B, 3, S)


def test_broadcast_says_which_axis_differs() -> None:
    with pytest.raises(InvalidModel, match=r"\[2, 3\] with \[4, 3\]: axis -2 has sizes 2 and 4"):
        broadcast((2, 3), (4, 3))


def test_broadcast_of_sizes_that_may_differ_needs_a_scope() -> None:
    with pytest.raises(Undecided, match="axis -1"):
        broadcast((S,), (8,))
    scope = Scope()
    assert broadcast((S,), (8,), scope=scope) == (8,)
    assert [str(c) for c in scope.checks] == ["S == 8"]


def test_strides_are_numpys() -> None:
    assert row_major_strides((2, 3, 4)) == (12, 4, 1)
    assert row_major_strides(()) == ()
    assert row_major_strides((B, S, 4)) == (4 * S, 4, 1)


@pytest.mark.parametrize(
    ("before", "requested", "after"),
    [
        ((2, 3, 4), (6, -1), (6, 4)),
        ((2, 3, 4), (0, -1), (2, 12)),
        ((2, 3, 4), (-1,), (24,)),
        ((0, 3), (3, -1), (3, 0)),
        ((), (1, 1), (1, 1)),
        ((B, S, 768), (0, 0, 12, 64), (B, S, 12, 64)),
        ((B, S, 768), (-1, 768), (B * S, 768)),
        ((B * S, 768), (B, -1, 768), (B, S, 768)),
        ((B, 64, 7, 7), (0, -1), (B, 3136)),
    ],
)
def test_reshape_solves(before: tuple, requested: tuple, after: tuple) -> None:
    assert solve_reshape(before, requested) == after


def test_reshape_keeps_a_real_zero_when_allowed() -> None:
    assert solve_reshape((0, 4), (4, 0), allow_zero=True) == (4, 0)


@pytest.mark.parametrize(
    ("before", "requested", "message"),
    [
        ((2, 3), (4,), "6 elements cannot become 4"),
        ((2, 3), (-1, -1), "only one"),
        ((2, 3), (4, -1), "6 elements cannot become 4"),
        ((2,), (1, 0), "no such axis"),
        ((2,), (-3,), "cannot be -3"),
        ((0, 2), (0, -1), "not defined"),
    ],
)
def test_reshape_refuses(before: tuple, requested: tuple, message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        solve_reshape(before, requested)


def test_reshape_that_bounds_cannot_decide_becomes_a_check() -> None:
    with pytest.raises(Undecided):
        solve_reshape((B, S), (4, -1))
    scope = Scope()
    shape = solve_reshape((B, S), (4, -1), scope=scope, why="reshape 'heads'")
    assert [evaluate(d, {"B": 2, "S": 6}) for d in shape] == [4, 3]
    assert scope.checks[0].message.startswith("reshape 'heads'")


def test_axes_count_from_the_end() -> None:
    assert normalize_axis(-1, 4) == 3
    assert normalize_axes((-1, 0), 3) == (2, 0)
    with pytest.raises(InvalidModel, match="axis 4 does not exist"):
        normalize_axis(4, 4)
    with pytest.raises(InvalidModel, match="twice"):
        normalize_axes((1, -2), 3)


def _count_windows(size: int, extent: int, stride: int, before: int, after: int, ceil_mode: bool) -> int:
    """Walk the windows: whole ones, and with ceil_mode a partial one that starts before the input's end."""
    count, start = 0, -before
    while start + extent <= size + after or (
        ceil_mode and start < size and start - stride + extent < size + after
    ):
        count, start = count + 1, start + stride
    return count


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_windows_are_those_counted_by_walking(ceil_mode: bool) -> None:
    for size, kernel, stride, dilation, before, after in itertools.product(
        range(5, 12), (1, 2, 3), (1, 2, 3), (1, 2), (0, 1), (0, 1)
    ):
        extent = (kernel - 1) * dilation + 1
        if max(before, after) >= extent:
            continue
        expected = _count_windows(size, extent, stride, before, after, ceil_mode)
        options = {"stride": stride, "dilation": dilation, "pads": (before, after), "ceil_mode": ceil_mode}
        assert place_windows(size, kernel, **options).out == expected, (size, kernel, options)
        symbolic = place_windows(symbol("H", 5, 12), kernel, **options).out
        assert evaluate(symbolic, {"H": size}) == expected, (size, kernel, options)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (5, 2, 1), (6, 1, 3), (10, 4, 3)]
)
def test_same_padding_gives_size_over_stride(auto_pad: str, size: int, kernel: int, stride: int) -> None:
    window = place_windows(size, kernel, stride=stride, auto_pad=auto_pad)
    assert window.out == -(-size // stride)
    few, many = (window.pad_before, window.pad_after)[:: 1 if auto_pad == "SAME_UPPER" else -1]
    assert many - few in (0, 1)
    assert few + many == max((window.out - 1) * stride + kernel - size, 0)


def test_a_window_that_never_fits_is_refused() -> None:
    with pytest.raises(InvalidModel, match="window of 5"):
        place_windows(3, 3, dilation=2)


def test_resnet_stem_of_symbolic_size() -> None:
    assert str(place_windows(symbol("H", 32), 7, stride=2, pads=(3, 3)).out) == "(H + 1)//2"


def test_transposed_size_undoes_the_window_count() -> None:
    assert transposed_size(5, 3, stride=2, pads=(1, 1), output_padding=1) == 10
    assert transposed_pads(5, 3, 10, stride=2, dilation=1, output_padding=0, auto_pad="SAME_UPPER") == (0, 1)
    assert transposed_pads(5, 3, 10, stride=2, dilation=1, output_padding=0, auto_pad="SAME_LOWER") == (1, 0)


def test_slices_are_numpys_for_every_small_case() -> None:
    ends = [*range(-7, 8), 2**63 - 1, -(2**63), 2**31 - 1]
    for size, start, stop, step in itertools.product((0, 1, 5), ends, ends, (1, 2, 3, -1, -2, -3)):
        first, count = slice_bounds(start, stop, step, size)
        taken = np.arange(size)[start:stop:step]
        assert count == len(taken) == slice_size(start, stop, step, size), (size, start, stop, step)
        if count:
            assert first == taken[0], (size, start, stop, step)


def test_symbolic_slices_are_numpys() -> None:
    length = symbol("L", 1, 9)
    ends = [*range(-7, 8), 2**63 - 1, -(2**63)]
    for start, stop, step in itertools.product(ends, ends, (1, 2, -1, -3)):
        first, count = slice_bounds(start, stop, step, length)
        for size in (1, 4, 9):
            taken = np.arange(size)[start:stop:step]
            assert evaluate(count, {"L": size}) == len(taken), (size, start, stop, step)
            assert not len(taken) or evaluate(first, {"L": size}) == taken[0]


def test_common_slices_stay_simple() -> None:
    assert slice_bounds(0, 2**63 - 1, 1, S) == (0, S)
    assert slice_bounds(1, 2**63 - 1, 1, S) == (1, S - 1)
    assert slice_bounds(0, -1, 1, S) == (0, S - 1)
    assert slice_bounds(-1, -(2**63), -1, S) == (S - 1, S)
    assert slice_bounds(0, S, 1, S) == (0, S)
