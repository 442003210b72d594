"""What ops that only move elements share: index maps between shapes, and reading indices and dims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, Sym, known_less
from engineworks.errors import Undecided
from engineworks.ir.scalar import Scalar, apply, cast, const, size, where

ZERO = const(0, dtypes.i64)
Combine = Literal["none", "add", "mul", "max", "min"]
"""How a scattered element meets the one that is there; none: it replaces it."""
Terms = list[tuple[Scalar, Dim]]
"""Σ index * coefficient: a linear index before it is multiplied out."""


def times(index: Scalar, coefficient: Dim) -> Scalar:
    """index * coefficient, with sizes known at build as constants."""
    return index * size(coefficient)


def integers(array: Any) -> np.ndarray:
    """The array as int64.

    Raises:
        Undecided: an element is a symbolic dim.
    """
    found = np.asarray(array)
    if found.dtype == object and any(isinstance(d, Sym) for d in found.ravel()):
        raise Undecided("a symbolic size is used as an index")
    return found.astype(np.int64)


def plain(dim: Dim) -> int:
    """A dim whose symbols have their values: references run on bound attributes only."""
    assert not isinstance(dim, Sym), f"{dim} is not bound"
    return int(dim)


def wrapped_index(index: Scalar, extent: Dim) -> Scalar:
    """A run-time index as i64, where negative ones count from the end of an axis of size `extent`."""
    wide = cast(index, dtypes.i64)
    if wide.head == "const":
        return wide if wide.payload >= 0 else wide + size(extent)
    if index.dtype.kind == "uint":
        return wide
    return where(apply("lt", wide, ZERO), wide + size(extent), wide)


def regrouped_index(
    index: Sequence[Scalar], shape: Sequence[Dim], source: Sequence[Dim]
) -> tuple[Scalar, ...]:
    """The index into a row-major tensor of shape `source` of the element at `index` of its reshape to `shape`.

    Runs of axes whose products agree are mapped on their own, so that (B, S, H*D) to (B, S, H, D) touches the last
    two axes only; divisions and remainders appear only where an axis is truly split across.
    """
    ours = [a for a, d in enumerate(shape) if d != 1]
    theirs = [a for a, d in enumerate(source) if d != 1]
    out: list[Scalar] = [ZERO] * len(source)
    for mine, wanted in _runs([shape[a] for a in ours], [source[a] for a in theirs]):
        here = [ours[k] for k in mine]
        there = [theirs[k] for k in wanted]
        parts = _split([(index[a], shape[a]) for a in here], [source[a] for a in there])
        for axis, part in zip(there, parts, strict=True):
            out[axis] = part
    return tuple(out)


def _runs(left: list[Dim], right: list[Dim]) -> list[tuple[range, range]]:
    """The shortest runs of both sides with equal products, in order."""
    if any(d == 0 for d in left + right):
        return [(range(0), range(len(right)))]  # no element is ever read
    ends = {}
    total: Dim = 1
    for k, d in enumerate(right):
        total = total * d
        ends[total] = k + 1
    runs: list[tuple[range, range]] = []
    total, start, begin = 1, 0, 0
    for k, d in enumerate(left):
        total = total * d
        end = ends.get(total)
        if end is not None and end > begin:
            runs.append((range(start, k + 1), range(begin, end)))
            start, begin = k + 1, end
    if start < len(left) or begin < len(right):
        runs.append((range(start, len(left)), range(begin, len(right))))
    return runs


def _split(axes: Sequence[tuple[Scalar, Dim]], extents: Sequence[Dim]) -> list[Scalar]:
    """The indices along `extents` of the row-major position that `axes` (index, size) give."""
    if len(axes) == 1 == len(extents):
        return [axes[0][0]]
    terms: Terms = []
    step: Dim = 1
    limits: dict[Scalar, Dim] = {}
    for index, extent in reversed(axes):
        terms.append((index, step))
        limits[index] = extent
        step = step * extent
    out: list[Scalar] = []
    for extent in reversed(extents[1:]):
        out.append(_remainder(terms, extent, limits))
        terms = _quotient(terms, extent, limits)
    if extents:
        out.append(_total(terms))
    return out[::-1]


def _divides(k: Dim, coefficient: Dim) -> bool:
    if isinstance(k, int) and isinstance(coefficient, int):
        return coefficient % k == 0
    try:
        return coefficient % k == 0
    except Undecided:
        return False


def _below(terms: Terms, k: Dim, limits: dict[Scalar, Dim]) -> bool:
    """Whether the sum is always less than k."""
    if any(index not in limits for index, _ in terms):
        return False
    highest: Dim = 0
    for index, coefficient in terms:
        highest = highest + (limits[index] - 1) * coefficient
    return known_less(highest, k) is True


def _remainder(terms: Terms, k: Dim, limits: dict[Scalar, Dim]) -> Scalar:
    rest = [(index, c) for index, c in terms if not _divides(k, c)]
    total = _total(rest)
    return total if _below(rest, k, limits) else total % size(k)


def _quotient(terms: Terms, k: Dim, limits: dict[Scalar, Dim]) -> Terms:
    whole = [(index, c // k) for index, c in terms if _divides(k, c)]
    rest = [(index, c) for index, c in terms if not _divides(k, c)]
    if rest and not _below(rest, k, limits):
        whole.append((_total(rest) // size(k), 1))
    return whole


def _total(terms: Terms) -> Scalar:
    total = ZERO
    for index, coefficient in reversed(terms):
        total = total + times(index, coefficient)
    return total


def linear_index(index: Sequence[Scalar], shape: Sequence[Dim]) -> Scalar:
    """Position in row-major order."""
    terms: Terms = []
    step: Dim = 1
    for i, extent in zip(reversed(index), reversed(shape), strict=True):
        terms.append((i, step))
        step = step * extent
    return _total(terms)


def ordered_bits(x: np.ndarray) -> np.ndarray:
    """Unsigned integers of x's width that order as its elements do: NaN last, and -0 as 0."""
    bits = x.dtype.itemsize * 8
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    if x.dtype.kind in "ub":
        return x.astype(unsigned)
    if x.dtype.kind == "i":
        return x.view(unsigned) ^ unsigned.type(1 << (bits - 1))
    raw = np.ascontiguousarray(x + np.zeros((), x.dtype)).view(unsigned)
    sign = unsigned.type(1 << (bits - 1))
    ordered = np.where(raw & sign, ~raw, raw | sign)
    return np.where(np.isnan(x), ~unsigned.type(0), ordered)


def combine_at(out: np.ndarray, at: tuple[np.ndarray, ...], updates: np.ndarray, how: Combine) -> None:
    """out[at] = updates, or combined with them; places named twice take every update."""
    if how == "none":
        out[at] = updates
        return
    {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[how].at(out, at, updates)
