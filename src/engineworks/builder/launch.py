"""Records of a program before offsets are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engineworks.core.dims import Dim
from engineworks.kernels.tactic import Step


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address points before offsets are known.

    Attributes:
        where: 'storage', 'weights', 'symbols' or 'plan'. at: storage number, or bytes. offset: bytes from there.
        map: index of a tensor map; -1 for the address itself.
    """

    where: str
    at: int
    offset: int = 0
    map: int = -1


@dataclass(slots=True)
class Launch:
    """One record before offsets are known."""

    symbol: str
    words: list[Place | Dim]
    tasks: Dim
    step: Step | None
    group: str
    name: str
    op: Literal["call", "jump", "jump_if_zero", "resolve"] = "call"
    target: int = 0
    reads: set[int] = field(default_factory=set)
    writes: set[int] = field(default_factory=set)
    finished: tuple[int, ...] = ()
    in_place: tuple[tuple[int, int], ...] = ()
