"""BuildConfig: every knob of a build, once. Flags, TOML keys, docs and the report follow from these fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engineworks.errors import BuildError

MAX_EFFORT = 5
MAX_THREADS = 256
ShapeRange = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Smallest, typical and largest shape of one input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """How to build an engine.

    Attributes:
        target: 'cpu' (this machine), 'cpu:avx512', 'cpu:avx2'.
        precision: of arithmetic; 'fp32' computes in the model's own types.
        profile: for each input with a dynamic axis its (min, opt, max) shapes.
        effort: 0 predicts the kernels, 3 times the promising ones on this machine, 5 tries all.
        threads: that the kernels are tuned for; None takes the physical cores.
        timing_cache: file with earlier measurements, read and extended; None keeps the user's own cache
            (ENGINEWORKS_CACHE_DIR), False keeps none.
        strict_math: only kernels whose rounding is as tight as the direct form (no Winograd F(4,3)).
        verify: check the graph after every pass (slower builds, for debugging).
        rewrite_limit: stop after this many rewrites (bisection); None for all.
        name: of the engine, for reports; the model's own by default.
        fixed_shapes: shapes that pin the dynamic axes of inputs.
    """

    target: str = "cpu"
    precision: Literal["fp32"] = "fp32"
    profile: Mapping[str, ShapeRange] | None = None
    effort: int = 3
    threads: int | None = None
    timing_cache: Path | Literal[False] | None = None
    strict_math: bool = False
    verify: bool = False
    rewrite_limit: int | None = None
    name: str = ""
    fixed_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises BuildError: a value outside of its range; the sentence lists the values there are."""
        if self.precision != "fp32":
            raise BuildError(
                f"precision '{self.precision}' is not there; 'fp32' computes in the model's own types"
            )
        if not 0 <= self.effort <= MAX_EFFORT:
            raise BuildError(
                f"effort {self.effort} is outside of 0 (predict the kernels) to {MAX_EFFORT} (time all of them)"
            )
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise BuildError(f"threads={self.threads} is outside of 1 to {MAX_THREADS}")
