"""Choosing one tactic for each workload."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Workload


@dataclass(frozen=True, slots=True)
class Alternative:
    """A tactic that was considered: its time when it was measured, why not when it was rejected."""

    tactic: str
    predicted_s: float
    measured_s: float | None = None
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The tactic that computes a workload.

    Attributes:
        measured_s: least seconds of one run with the tuned thread count; None when it was predicted.
        alternatives: all that were considered, the winner first.
        refused: families that do not compute this workload, and why.
    """

    work: Workload
    tactic: Tactic
    image: KernelImage
    measured_s: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    refused: tuple[str, ...] = ()
