"""What a vendor's library proposes for a problem, as tactics: its heuristics' answers in their own order."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.errors import NoTactic
from engineworks.kernels.tactic import Effort, Tactic


@dataclass(frozen=True, slots=True)
class Proposal:
    """Which of the library's proposals is taken, 0 the best by its own estimate."""

    proposal: int

    def __str__(self) -> str:
        return f"proposal {self.proposal}"


def require_measuring(tried: tuple[int, ...], effort: Effort) -> None:
    """Raise NoTactic where no proposal is tried at this effort.

    Args:
        tried: how many are measured, by effort.
    """
    if not tried[effort]:
        raise NoTactic("a library's speed cannot be predicted; it is measured from effort 1 on")


def proposals(provider: str, count: int, seconds: float, *, is_loose: bool = False) -> list[Tactic]:
    """The first so many; later ones are slower by the library's own estimate."""
    return [Tactic(provider, Proposal(n), seconds * (1 + n / 32), is_loose) for n in range(count)]
