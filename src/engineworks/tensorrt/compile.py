"""From network and config to an engine file's bytes; the one place where this face meets the builder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from engineworks.builder.build import build_engine
from engineworks.builder.config import BuildConfig
from engineworks.builder.report import decode
from engineworks.engine import container
from engineworks.engine.schema import Manifest, Profile, Range
from engineworks.errors import BuildError
from engineworks.tensorrt.config import IBuilderConfig, IOptimizationProfile
from engineworks.tensorrt.enums import BuilderFlag
from engineworks.tensorrt.graphs import graph_of, merged_shapes
from engineworks.tensorrt.hardware import hardware_options
from engineworks.tensorrt.logger import ILogger
from engineworks.tensorrt.network import INetworkDefinition
from engineworks.tensorrt.precision import precision_options, tell


def compile_network(network: INetworkDefinition, config: IBuilderConfig, logger: ILogger) -> bytes:
    """The engine file. Raises BuildError."""
    network.as_foreign()  # an empty network is what is wrong first
    precision = precision_options(network, config, logger)
    with _timing_cache(config) as cache:
        merged = merged_shapes(network, config.profiles)
        options = BuildConfig(
            profile=merged or None,
            effort=min(5, max(0, int(config.builder_optimization_level))),
            timing_cache=cache,
            name=network.name,
            **hardware_options(config, logger),
            **precision,
        )
        graph = graph_of(network, merged)
        with _monitored(config.progress_monitor) as progress:
            emitted = build_engine(graph, options, progress)
        tell(network, config, decode(bytes(emitted.sections["report"])), logger)
        manifest = _with_profiles(emitted.manifest, network, config.profiles)
        return container.encode(manifest, emitted.sections)


def _with_profiles(
    manifest: Manifest, network: INetworkDefinition, profiles: Sequence[IOptimizationProfile]
) -> Manifest:
    """The engine with TensorRT's profiles as its own: ranges of its symbols within what it was built for."""
    if not profiles or manifest.profiles:
        return manifest
    made = []
    for number, profile in enumerate(profiles):
        ranges = {}
        for symbol in manifest.symbols:
            shapes = profile.shapes.get(manifest.inputs[symbol.input].name) if symbol.input >= 0 else None
            if shapes is not None:
                low, typical, high = (shape[symbol.axis] for shape in shapes)
                ranges[symbol.name] = Range(low, typical, high)
        made.append(Profile(str(number), ranges))
    return msgspec.structs.replace(manifest, profiles=tuple(made))


@contextmanager
def _timing_cache(config: IBuilderConfig) -> Any:
    """The cache as a file while it is needed; False when the program wants none."""
    if config.get_flag(BuilderFlag.DISABLE_TIMING_CACHE):
        yield False
    elif config.timing_cache is None:
        yield None
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "timing.jsonl"
            if config.timing_cache.data:
                path.write_bytes(config.timing_cache.data)
            yield path
            if os.path.exists(path):
                config.timing_cache.data = path.read_bytes()


@contextmanager
def _monitored(monitor: Any) -> Any:
    """A progress function that speaks to an IProgressMonitor; its False ends the build.

    Raises:
        BuildError: the monitor asked to stop.
    """
    if monitor is None:
        yield None
        return
    phase = "Tune kernels"
    state = {"open": False}

    def report(done: int, total: int, what: str) -> None:
        if not state["open"]:
            monitor.phase_start(phase, None, total)
            state["open"] = True
        if not monitor.step_complete(phase, done):
            raise BuildError(f"the progress monitor stopped the build at '{what}'")

    progress: Callable[[int, int, str], None] = report
    try:
        yield progress
    finally:
        if state["open"]:
            monitor.phase_finish(phase)
