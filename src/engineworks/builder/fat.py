"""Builds for several targets: a plan for each, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engineworks.builder.assembly import assemble
from engineworks.builder.build import Model, build_engine, canonical_passes, import_graph, target_of
from engineworks.builder.calibrated_build import ranges_for
from engineworks.builder.config import BuildConfig
from engineworks.builder.emit import Emitted
from engineworks.builder.precision import allowed_precisions
from engineworks.core.target import Target
from engineworks.errors import BuildError
from engineworks.ir.copy import copy_graph
from engineworks.ir.graph import Graph
from engineworks.ir.passes import run_passes
from engineworks.ir.rewriter import Rewriter
from engineworks.kernels.backend import Backend, find
from engineworks.tuner.choose import Progress


def build_fat(
    model: Model, config: BuildConfig, progress: Progress | None = None, backend: Backend | None = None
) -> Emitted:
    """The engine with a plan for each target; see `build_engine`.

    The model is imported for each, since passes change graphs; a Graph is copied, and left as it is.

    Raises:
        BuildError: two of the targets are the same, or their inputs and outputs differ.
    """
    plans: list[tuple[BuildConfig, Target, Backend]] = []
    for each in (_config_for(config, name) for name in config.targets):
        target = target_of(each)
        for other, same, _ in plans:
            if same == target:
                raise BuildError(f"targets '{other.target}' and '{each.target}' are the same here: {target}")
        plans.append((each, target, _backend_of(target, backend)))
    ranges = _ranges(model, config, plans)
    return assemble(
        [
            build_engine(_fresh(model), replace(each, **ranges), _of(each.target, progress), own)
            for each, _, own in plans
        ]
    )


def _config_for(config: BuildConfig, target: str) -> BuildConfig:
    """'ampere_plus' holds for cuda:sm_80; plans for other GPUs then run on any model of their architecture."""
    wanted = config.hardware_compatibility
    if wanted == "ampere_plus" and target != "cuda:sm_80":
        wanted = "same_compute_capability"
    return replace(config, target=target, hardware_compatibility=wanted)


def _backend_of(target: Target, given: Backend | None) -> Backend:
    return given if given is not None and given.name == target.device else find(target.device)


def _fresh(model: Model) -> Model:
    return copy_graph(model)[0] if isinstance(model, Graph) else model


def _of(target: str, progress: Progress | None) -> Progress | None:
    """Progress that says which target it is about."""
    if progress is None:
        return None
    return lambda done, total, what: progress(done, total, f"{target}: {what}")


def _ranges(
    model: Model, config: BuildConfig, plans: Sequence[tuple[BuildConfig, Target, Backend]]
) -> Mapping[str, Any]:
    """Fields that put ranges in place of calibration data, which is run once for all plans and may be a stream."""
    if config.calibrate is None or not any(_may_use_int8(*plan) for plan in plans):
        return {}
    graph, imported = import_graph(_fresh(model), config)
    run_passes(Rewriter(graph), canonical_passes())
    ranges, _ = ranges_for(graph, imported)
    return {"calibrate": None, "calibration_cache": dict(ranges)}


def _may_use_int8(config: BuildConfig, target: Target, backend: Backend) -> bool:
    asked = allowed_precisions(config, backend, backend.isa(target))
    return "int8" in asked or "int8" in config.layer_precisions.values()
