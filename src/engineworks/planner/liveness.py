"""When buffers live: from a list of launches to lives, with results in place and views inside parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engineworks.planner.arena import Life


@dataclass(frozen=True, slots=True)
class Step:
    """One launch, or several between two barriers, which then count as one moment.

    Attributes:
        reads, writes: indices of buffers.
        in_place: (written, read) pairs for which each element is read before the same bytes are written, the
            preferred first. The pair shares memory where the read buffer is not needed any more.
    """

    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    in_place: tuple[tuple[int, int], ...] = ()


def lives_of(
    sizes: Sequence[int],
    steps: Sequence[Step],
    *,
    given: Iterable[int] = (),
    kept: Iterable[int] = (),
    views: Mapping[int, tuple[int, int]] | None = None,
    loops: Iterable[tuple[int, int]] = (),
) -> list[Life]:
    """A life for each buffer; the index of a buffer is its index in `sizes`.

    Args:
        sizes: bytes.
        given: buffers filled before the first step.
        kept: buffers read after the last step; nothing is computed in their place before that.
        views: buffer -> (parent, offset in bytes): it lies in the parent, as the parts of a concatenation.
        loops: (first, last) steps that repeat, inner loops before outer ones. What enters a loop, and what
            one round hands to the next, stays alive until its last step.
    Raises:
        ValueError: a buffer that no step touches and that is neither given nor kept.
    """
    spans = _spans(len(sizes), steps, given, kept)
    for loop in loops:
        _stretch(spans, steps, loop)
    aliases: dict[int, tuple[int, int]] = dict(views or {})
    _share_memory(sizes, steps, spans, aliases, frozenset(kept))
    return [Life(size, *spans[n], *aliases.get(n, (None, 0))) for n, size in enumerate(sizes)]


def _share_memory(
    sizes: Sequence[int],
    steps: Sequence[Step],
    spans: Sequence[tuple[int, int]],
    aliases: dict[int, tuple[int, int]],
    kept: frozenset[int],
) -> None:
    """Add to `aliases` the buffers that can lie where one lies that is read for the last time as they are written."""
    members = _members(len(sizes), aliases)
    for now, step in enumerate(steps):
        for written, read in step.in_place:
            starts_here = spans[written][0] == now
            if written in aliases or written in kept or not starts_here or len(members[written]) > 1:
                continue
            owner, offset = _owner(read, aliases)
            fits = sizes[written] <= sizes[read] and offset + sizes[written] <= sizes[owner]
            if fits and all(spans[m][1] <= now and m not in kept for m in members[owner]):
                aliases[written] = (read, 0)
                members[owner].append(written)


def _spans(
    count: int, steps: Sequence[Step], given: Iterable[int], kept: Iterable[int]
) -> list[tuple[int, int]]:
    """First and last step of each buffer."""
    touched: list[tuple[int, int] | None] = [None] * count

    def touch(buffer: int, now: int) -> None:
        span = touched[buffer]
        touched[buffer] = (now, now) if span is None else (min(span[0], now), max(span[1], now))

    for buffer in given:
        touch(buffer, 0)
    for now, step in enumerate(steps):
        for buffer in (*step.reads, *step.writes):
            touch(buffer, now)
    for buffer in kept:
        touch(buffer, max(len(steps) - 1, 0))
    idle = [n for n, span in enumerate(touched) if span is None]
    if idle:
        raise ValueError(f"buffers {idle} are never read nor written")
    return [span for span in touched if span is not None]


def _stretch(spans: list[tuple[int, int]], steps: Sequence[Step], loop: tuple[int, int]) -> None:
    """Keep alive to the loop's end what enters it, and all through it what is read before it is written."""
    first, last = loop
    written: set[int] = set()
    for step in steps[first : last + 1]:
        for buffer in step.reads:
            if buffer not in written:
                spans[buffer] = (min(spans[buffer][0], first), max(spans[buffer][1], last))
        written.update(step.writes)


def _owner(buffer: int, aliases: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """The buffer whose memory this one lies in, and the byte where it starts there."""
    offset = 0
    while buffer in aliases:
        parent, shift = aliases[buffer]
        buffer, offset = parent, offset + shift
    return buffer, offset


def _members(count: int, aliases: Mapping[int, tuple[int, int]]) -> list[list[int]]:
    """For each owner of memory, the buffers that lie in it, itself included."""
    out: list[list[int]] = [[] for _ in range(count)]
    for buffer in range(count):
        out[_owner(buffer, aliases)[0]].append(buffer)
    return out
