"""Where buffers lie: offsets in one arena such that buffers alive together never overlap."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

REORDER_WORK = 16_000
"""Placements tried by the improvement, over all its rounds; about 0.3 s, and the same on every machine."""
MOST_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Life:
    """When a buffer is needed, and how large it is.

    Attributes:
        size: bytes, not negative.
        first, last: indices of launches, both inclusive.
        alias_of: index of the buffer whose memory this one lies in, which then lives as long as both.
        alias_offset: bytes from the start of that buffer.
    """

    size: int
    first: int
    last: int
    alias_of: int | None = None
    alias_offset: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Offsets in bytes in the order of the lives, the arena's size, and the least any plan could need."""

    offsets: tuple[int, ...]
    total: int
    lower_bound: int


def plan(lives: Sequence[Life], alignment: int = 64) -> Plan:
    """Place buffers in one arena so that buffers alive together never overlap.

    Args:
        lives: what to place; the same lives give the same plan.
        alignment: of every offset (aliases apart) and of the total, bytes, a power of two.
    Returns:
        Never larger than the sum of the sizes rounded up to the alignment.
    Raises:
        ValueError: a life ends before it starts or has a negative size; an alias leads nowhere, runs in a
            circle, or does not fit the buffer it lies in.

    Largest first into the tightest gap, then again with the buffers that stick out placed earlier, until the
    lower bound (the peak of bytes alive together) is met or the work is used up.
    """
    if alignment < 1 or alignment & (alignment - 1):
        raise ValueError(f"alignment {alignment} is not a power of two")
    roots, shifts = _resolve(lives)
    blocks = _Blocks.of(lives, roots, alignment)
    lower_bound = blocks.peak()
    offsets, total = _search(blocks, lower_bound)
    at = dict(zip(blocks.owners, offsets.tolist(), strict=True))
    return Plan(tuple(at[r] + s for r, s in zip(roots, shifts, strict=True)), total, lower_bound)


def _resolve(lives: Sequence[Life]) -> tuple[list[int], list[int]]:
    """For each life the buffer that owns its memory, and the bytes from that buffer's start."""
    roots, shifts = [], []
    for index, life in enumerate(lives):
        if life.size < 0 or life.last < life.first:
            raise ValueError(f"life {index}: {life} has a negative size or ends before it starts")
        owner, shift, seen = index, 0, {index}
        while (parent := lives[owner].alias_of) is not None:
            if not 0 <= parent < len(lives) or parent in seen:
                raise ValueError(f"life {index}: its alias {parent} does not exist or runs in a circle")
            shift, owner = shift + lives[owner].alias_offset, parent
            seen.add(parent)
        if shift < 0 or shift + life.size > lives[owner].size:
            raise ValueError(
                f"life {index}: bytes {shift} to {shift + life.size} are not inside life {owner}, "
                f"which has {lives[owner].size}"
            )
        roots.append(owner)
        shifts.append(shift)
    return roots, shifts


@dataclass(frozen=True, slots=True)
class _Blocks:
    """What is really placed: owners of memory, sizes rounded up, the lives of their aliases joined."""

    owners: list[int]
    sizes: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @staticmethod
    def of(lives: Sequence[Life], roots: Sequence[int], alignment: int) -> _Blocks:
        owners = sorted(set(roots))
        position = {owner: n for n, owner in enumerate(owners)}
        sizes = np.array([-(-lives[o].size // alignment) * alignment for o in owners], np.int64)
        first = np.array([lives[o].first for o in owners], np.int64)
        last = np.array([lives[o].last for o in owners], np.int64)
        for life, root in zip(lives, roots, strict=True):
            n = position[root]
            first[n] = min(first[n], life.first)
            last[n] = max(last[n], life.last)
        return _Blocks(owners, sizes, first, last)

    def peak(self) -> int:
        """The most bytes alive at one launch."""
        if not self.owners:
            return 0
        times, index = np.unique(np.concatenate([self.first, self.last + 1]), return_inverse=True)
        change = np.zeros(len(times), np.int64)
        np.add.at(change, index, np.concatenate([self.sizes, -self.sizes]))
        return int(np.cumsum(change).max())


def _search(blocks: _Blocks, lower_bound: int) -> tuple[np.ndarray, int]:
    """The best placement of several orders, and of rounds that move what sticks out to the front."""
    count = len(blocks.owners)
    if not count:
        return np.zeros(0, np.int64), 0
    best = None
    for order in _orders(blocks):
        for choose in (_tightest, _lowest):
            offsets = _place(blocks, order, choose)
            total = int((offsets + blocks.sizes).max())
            if best is None or total < best[1]:
                best = offsets, total, order, choose
            if total == lower_bound:
                return offsets, total
    assert best is not None, "there is an order for any blocks"
    offsets, total, order, choose = best
    chance = random.Random(0)
    current = offsets
    for _ in range(min(MOST_ROUNDS, REORDER_WORK // count)):
        trial = _promoted(order, current + blocks.sizes, chance)
        moved = _place(blocks, trial, choose)
        reached = int((moved + blocks.sizes).max())
        if reached <= total:
            offsets, total, order, current = moved, reached, trial, moved
        if total == lower_bound:
            break
    return offsets, total


def _orders(blocks: _Blocks) -> list[np.ndarray]:
    """Orders worth trying: by size, by size times duration, by duration; ties by size, then start."""
    duration = blocks.last - blocks.first + 1
    keys = (blocks.sizes, blocks.sizes * duration, duration)
    return [np.lexsort((blocks.first, -blocks.sizes, -key)) for key in keys]


def _promoted(order: np.ndarray, ends: np.ndarray, chance: random.Random) -> np.ndarray:
    """The order with the buffer that ends highest, and sometimes another one, placed earlier."""
    out = order.tolist()
    top = int(ends[order].argmax())
    for position in (top, chance.randrange(len(out))):
        if position:
            out.insert(chance.randrange(position), out.pop(position))
    return np.array(out, order.dtype)


Choice = Callable[[np.ndarray, np.ndarray, int], int]
"""Which gap (starts, lengths) takes a buffer of that many bytes; all given gaps are long enough."""


def _tightest(starts: np.ndarray, lengths: np.ndarray, size: int) -> int:
    return int(starts[lengths.argmin()])


def _lowest(starts: np.ndarray, lengths: np.ndarray, size: int) -> int:
    return int(starts[0])


def _place(blocks: _Blocks, order: np.ndarray, choose: Choice) -> np.ndarray:
    """Offsets when buffers are placed one after the other, each into a gap among those it lives with."""
    count = len(order)
    offsets = np.zeros(count, np.int64)
    sizes, first, last = blocks.sizes[order], blocks.first[order], blocks.last[order]
    placed = np.zeros(count, np.int64)
    for n in range(count):
        together = np.flatnonzero((first[:n] <= last[n]) & (last[:n] >= first[n]))
        if not len(together):
            continue
        starts = placed[together]
        by_start = starts.argsort(kind="stable")
        starts = starts[by_start]
        ends = np.maximum.accumulate(starts + sizes[together][by_start])
        gap_starts = np.concatenate(([0], ends[:-1]))
        lengths = starts - gap_starts
        fits = np.flatnonzero(lengths >= sizes[n])
        placed[n] = choose(gap_starts[fits], lengths[fits], int(sizes[n])) if len(fits) else ends[-1]
    offsets[order] = placed
    return offsets
