"""BuildConfig: every knob of a build, once. Flags, TOML keys, docs and the report follow from these fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engineworks.errors import BuildError

MAX_EFFORT = 5
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "best")
TACTIC_SOURCES = ("triton", "cublaslt", "cudnn")
USUAL_SOURCES = ("triton", "cublaslt")
"""Without cuDNN, whose convolutions gave wrong results and damaged the measuring process's memory where they were tried
(9.19 on an H200); it competes when it is asked for, and what it computes is checked before it is timed."""
MAX_THREADS = 256
ShapeRange = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Smallest, typical and largest shape of one input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """How to build an engine.

    Attributes:
        target: 'cpu' (this machine), 'cpu:avx512', 'cpu:avx2'; 'cuda' (this machine's GPU), 'cuda:sm_90' and other
            architectures, which need no GPU to build for. Several with commas between them make one file with a plan
            for each; the best that a machine runs is loaded there.
        precision: that products may be computed in, wherever one is faster: 'bf16', 'fp16', 'int8' (with calibration or
            a model's own Q/DQ), several of them, 'best' for all that the CPU is fast at; 'fp32' computes in the
            model's own types ('tf32' says the same).
        tf32: on GPUs, products of f32 may round their factors to TF32; strict_math forbids it.
        layer_precisions: by name or glob of source nodes the precision they compute in; the last match counts.
        precision_constraints: layer_precisions that cannot be are an error ('obey') or reported ('prefer'); 'none'
            ignores all of them.
        keep_io_types: inputs and outputs keep the model's types; otherwise f32 ones take the narrowest float allowed.
        calibrate: example inputs for int8: batches as dicts of arrays, arrays, or a function that gives them.
        calibration_cache: file with the ranges of earlier calibrations, read if it is there and written by `calibrate`.
        calibration_method: 'entropy', 'minmax', 'percentile'.
        max_clipped: a calibrated range that leaves more than this share of a tensor's data out is warned of.
        profile: for each input with a dynamic axis its (min, opt, max) shapes.
        effort: 0 predicts the kernels, 3 times the promising ones on this machine, 5 tries all.
        threads: that the kernels are tuned for; None takes the physical cores.
        timing_cache: file with earlier measurements, read and extended; None keeps the user's own cache
            (ENGINEWORKS_CACHE_DIR), False keeps none.
        tactic_sources: on GPUs, where kernels may come from: 'triton' (ours), 'cublaslt', and when
            asked for 'cudnn'.
        hardware_compatibility: which GPUs may load the engine: 'exact' the model it was tuned on (any of the
            architecture, where there was none); 'same_compute_capability' other models, for which its kernels may not
            be the fastest; 'ampere_plus' every GPU from Ampere on, with kernels for cuda:sm_80 that newer ones compile
            when they load it (slower to load, without the matrix instructions of newer ones).
        strict_math: only kernels whose rounding is as tight as the direct form (no Winograd F(4,3)).
        verify: check the graph after every pass (slower builds, for debugging).
        rewrite_limit: stop after this many rewrites (bisection); None for all.
        name: of the engine, for reports; the model's own by default.
        fixed_shapes: shapes that pin the dynamic axes of inputs.
    """

    target: str = "cpu"
    precision: str | Collection[str] = "fp32"
    tf32: bool = True
    layer_precisions: Mapping[str, str] = field(default_factory=dict)
    precision_constraints: Literal["obey", "prefer", "none"] = "prefer"
    keep_io_types: bool = True
    calibrate: Any = None
    calibration_cache: Path | Mapping[str, float] | None = None
    calibration_method: Any = "entropy"
    max_clipped: float = 0.01
    profile: Mapping[str, ShapeRange] | None = None
    effort: int = 3
    threads: int | None = None
    timing_cache: Path | Literal[False] | None = None
    tactic_sources: Collection[str] = USUAL_SOURCES
    hardware_compatibility: Literal["exact", "same_compute_capability", "ampere_plus"] = "exact"
    strict_math: bool = False
    verify: bool = False
    rewrite_limit: int | None = None
    name: str = ""
    fixed_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises BuildError: a value outside of its range; the sentence lists the values there are."""
        for name in _names(self.precision):
            if name not in PRECISIONS:
                raise BuildError(f"no precision is called '{name}'; there are {', '.join(PRECISIONS)}")
        for layer, name in self.layer_precisions.items():
            if name not in PRECISIONS[:-1]:
                raise BuildError(
                    f"layer_precisions: '{name}' for '{layer}' is no precision; there are {', '.join(PRECISIONS[:-1])}"
                )
        if self.precision_constraints not in ("obey", "prefer", "none"):
            raise BuildError(
                f"precision_constraints '{self.precision_constraints}' is none of 'obey', 'prefer', 'none'"
            )
        if len(set(self.targets)) < len(self.targets) or not all(self.targets):
            raise BuildError(f"target '{self.target}' names a target twice, or none between two commas")
        self._check_gpu()
        if not 0 <= self.max_clipped <= 1:
            raise BuildError(f"max_clipped={self.max_clipped} is not a share from 0 to 1")
        if not 0 <= self.effort <= MAX_EFFORT:
            raise BuildError(
                f"effort {self.effort} is outside of 0 (predict the kernels) to {MAX_EFFORT} (time all of them)"
            )
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise BuildError(f"threads={self.threads} is outside of 1 to {MAX_THREADS}")

    def _check_gpu(self) -> None:
        unknown = set(self.tactic_sources) - set(TACTIC_SOURCES)
        if unknown or "triton" not in self.tactic_sources:
            raise BuildError(
                f"tactic_sources {sorted(self.tactic_sources)}: there are {', '.join(TACTIC_SOURCES)}, and 'triton' "
                f"must be among them: libraries do not compute everything"
            )
        if self.hardware_compatibility not in ("exact", "same_compute_capability", "ampere_plus"):
            raise BuildError(
                f"hardware_compatibility '{self.hardware_compatibility}' is none of 'exact', "
                f"'same_compute_capability', 'ampere_plus'"
            )
        if self.hardware_compatibility == "ampere_plus" and "cuda:sm_80" not in self.targets:
            raise BuildError(
                f"hardware_compatibility 'ampere_plus' is for target 'cuda:sm_80', which every later GPU can run; the "
                f"target is '{self.target}'"
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """The names in `target`."""
        return tuple(t.strip() for t in self.target.split(","))

    @property
    def precisions(self) -> frozenset[str]:
        """The names in `precision`."""
        return frozenset(_names(self.precision))


def _names(precision: str | Collection[str]) -> tuple[str, ...]:
    """One name, several with commas between them, or a collection."""
    return tuple(n.strip() for n in precision.split(",")) if isinstance(precision, str) else tuple(precision)
