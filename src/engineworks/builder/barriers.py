"""Which launches may run into the next one without the threads meeting in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from engineworks.builder.storage import Storages, upper_bytes


@dataclass(frozen=True, slots=True)
class Touched:
    """Storages that one launch reads and writes, by index; `fixed` launches always end with a meeting."""

    reads: Collection[int]
    writes: Collection[int]
    fixed: bool


def free_of_barrier(launches: Sequence[Touched], storages: Storages, offsets: Mapping[int, int]) -> set[int]:
    """Positions of launches after which no barrier is needed.

    A thread may start the next launch while others still work on this one when neither touches what the other writes.
    Storages are compared by their bytes in the arena, since the memory plan reuses them.
    """
    spans = {s.index: _span(s.index, storages, offsets) for s in storages.all}
    free: set[int] = set()
    open_reads: set[int] = set()
    open_writes: set[int] = set()
    for position, launch in enumerate(launches[:-1]):
        following = launches[position + 1]
        open_reads.update(launch.reads)
        open_writes.update(launch.writes)
        clash = _meet(open_writes, {*following.reads, *following.writes}, spans) or _meet(
            open_reads, following.writes, spans
        )
        if launch.fixed or following.fixed or clash:
            open_reads, open_writes = set(), set()
        else:
            free.add(position)
    return free


Span = tuple[str, int, int]


def _span(index: int, storages: Storages, offsets: Mapping[int, int]) -> Span:
    storage = storages.all[index]
    if storage.place != "arena":
        return (f"{storage.place}{storage.number}", 0, 1)
    start = offsets[index]
    return ("arena", start, start + upper_bytes(storage.size, "a buffer"))


def _meet(a: Collection[int], b: Collection[int], spans: Mapping[int, Span]) -> bool:
    return any(
        spans[x][0] == spans[y][0] and spans[x][1] < spans[y][2] and spans[y][1] < spans[x][2]
        for x in a
        for y in b
    )
