"""Calibration as a build does it: the graph that ranges are for, and an engine that measures it."""

from __future__ import annotations

from engineworks.builder.build import Model, build_bytes, canonical_passes, import_graph
from engineworks.builder.config import BuildConfig
from engineworks.calibration.batches import Data
from engineworks.calibration.calibrate import MAX_CLIPPED, Calibration, Progress, calibrate
from engineworks.calibration.methods import Method
from engineworks.ir.graph import Graph
from engineworks.ir.passes import run_passes
from engineworks.ir.rewriter import Rewriter
from engineworks.runtime.engine import Engine


def calibrate_model(
    model: Model,
    data: Data,
    config: BuildConfig,
    *,
    method: str | Method = "entropy",
    max_clipped: float = MAX_CLIPPED,
    progress: Progress | None = None,
) -> Calibration:
    """Ranges of a model's activations from example inputs.

    Args:
        model: as `build_engine` takes it.
        data, method, max_clipped, progress: see `engineworks.calibration.calibrate`.
        config: shapes, threads and timing cache are used; the measuring engine is built for this machine, at effort 0.
    Raises:
        CalibrationError: the data does not fit, or there is none.
        BuildError: in its kinds, as `build_engine`.
    """
    graph, config = import_graph(model, config)
    run_passes(Rewriter(graph), canonical_passes())
    return calibrate_graph(graph, data, config, method=method, max_clipped=max_clipped, progress=progress)


def calibrate_graph(
    graph: Graph,
    data: Data,
    config: BuildConfig,
    *,
    method: str | Method = "entropy",
    max_clipped: float = MAX_CLIPPED,
    progress: Progress | None = None,
) -> Calibration:
    """As `calibrate_model`, for a graph behind `canonical_passes`, which only gets names for nameless values."""
    plain = BuildConfig(
        profile=config.profile, fixed_shapes=config.fixed_shapes, threads=config.threads,
        timing_cache=config.timing_cache, effort=0, name=f"{graph.name} (calibration)",
    )  # fmt: skip

    def engine_of(measuring: Graph) -> Engine:
        return Engine.open(build_bytes(measuring, plain), threads=config.threads)

    return calibrate(
        graph, data, compile=engine_of, method=method, max_clipped=max_clipped, progress=progress
    )
