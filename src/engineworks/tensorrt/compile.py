"""From network and config to an engine file's bytes; the one place where this face meets the builder."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from engineworks.builder import profiles as build_profiles
from engineworks.builder.build import build_engine
from engineworks.builder.config import BuildConfig
from engineworks.core.types import Shape
from engineworks.engine import container
from engineworks.engine.schema import Manifest, Profile, Range
from engineworks.errors import BuildError, InvalidModel
from engineworks.frontends.importer import import_model
from engineworks.ir.graph import Graph
from engineworks.tensorrt.config import IBuilderConfig, IOptimizationProfile
from engineworks.tensorrt.enums import BuilderFlag
from engineworks.tensorrt.network import INetworkDefinition
from engineworks.tensorrt.values import Dims

Shapes = dict[str, tuple[Dims, Dims, Dims]]


def types_of(network: INetworkDefinition, *names: str) -> dict[str, tuple[str, Shape]]:
    """dtype and shape of the values that the network computes, or of those that `names` need."""
    foreign = network.as_foreign()
    if names:
        foreign = dataclasses.replace(foreign, outputs=list(names))
    graph = import_model(foreign, input_shapes=network.fixed_shapes)
    named = [v for v in graph.values() if v.name] + graph.outputs
    found = {v.name: (v.type.dtype.name, v.type.shape) for v in named}
    return found | {
        n: (v.type.dtype.name, v.type.shape) for n, v in zip(graph.output_names, graph.outputs, strict=True)
    }


def compile_network(network: INetworkDefinition, config: IBuilderConfig) -> bytes:
    """The engine file. Raises BuildError."""
    with _timing_cache(config) as cache:
        merged = _merged(network, config.profiles)
        options = BuildConfig(
            profile=merged or None,
            effort=min(5, max(0, int(config.builder_optimization_level))),
            timing_cache=cache,
            name=network.name,
        )
        graph = _graph(network, merged)
        with _monitored(config.progress_monitor) as progress:
            emitted = build_engine(graph, options, progress)
        manifest = _with_profiles(emitted.manifest, network, config.profiles)
        return container.encode(manifest, emitted.sections)


def _graph(network: INetworkDefinition, merged: Shapes) -> Graph:
    foreign = network.as_foreign()
    profiled = {t.source: merged[t.name] for t in network.inputs if t.name in merged}
    fixed = {
        name: tuple(d for d in shape if isinstance(d, int))
        for name, shape in network.fixed_shapes.items()
        if name not in profiled and all(isinstance(d, int) for d in shape)
    }
    options = BuildConfig(profile=profiled or None, fixed_shapes=fixed)
    shapes, dims = build_profiles.shapes_and_ranges(foreign, options)
    graph = import_model(foreign, input_shapes=shapes, dims=dims)
    for value in graph.inputs:
        value.name = next(t.name for t in network.inputs if t.source == value.name)
    graph.output_names = [t.name for t in network.outputs]
    return graph


def _merged(network: INetworkDefinition, profiles: Sequence[IOptimizationProfile]) -> Shapes:
    """One range for each input, which covers all profiles; typical is the first one's."""
    known = {t.name for t in network.inputs}
    merged: Shapes = {}
    for profile in profiles:
        for name, (low, typical, high) in profile.shapes.items():
            if name not in known:
                raise InvalidModel(
                    f"a profile sets the shape of '{name}'; the network's inputs are {', '.join(sorted(known))}"
                )
            before = merged.get(name, (low, typical, high))
            merged[name] = Dims(map(min, before[0], low)), before[1], Dims(map(max, before[2], high))
    return merged


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
