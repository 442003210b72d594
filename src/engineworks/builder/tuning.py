"""The tuner of a build: which cache, which conditions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from engineworks.builder.config import BuildConfig
from engineworks.builder.places import cache_folder
from engineworks.core import target as targets
from engineworks.core.target import Target
from engineworks.kernels.backend import Backend
from engineworks.kernels.tactic import Hardware
from engineworks.runtime.cpu.pool import available_cores
from engineworks.tuner import gpu_facts
from engineworks.tuner.cache import Conditions, TimingCache
from engineworks.tuner.measure import ProcessTuner

_LOG = logging.getLogger("engineworks")


def make_tuner(
    config: BuildConfig, backend: Backend, target: Target, isa: Hardware, cache: Any, dims: Mapping[str, int]
) -> ProcessTuner:
    """A tuner for this machine.

    Args:
        cache: the backend's, of compiled functions.
        dims: the typical values of the symbols.
    """
    file = f"{backend.name}.jsonl"
    path = None if config.timing_cache is False else config.timing_cache or cache_folder("timings") / file
    times = TimingCache(path)
    if target.device == "cuda":
        return _gpu_tuner(backend, target, isa, cache, times, dims)
    threads = config.threads or available_cores()
    conditions = Conditions(targets.host().fingerprint, backend.tools(), threads)
    return ProcessTuner(target, isa, cache, times, conditions, threads, dims)


def _gpu_tuner(
    backend: Backend, target: Target, isa: Hardware, cache: Any, times: TimingCache, dims: Mapping[str, int]
) -> ProcessTuner:
    """Measures on this machine's GPU where it has the target's architecture; elsewhere the times of a cache carried
    here are taken, all of one GPU, or there are only predictions.
    """
    tools = backend.tools()
    facts = gpu_facts.facts_here(tools)
    measures = facts is not None and facts["arch"] == target.arch
    if not measures:
        facts = gpu_facts.newest_of(times.facts, target.arch, tools)
        how = f"chosen by times of {gpu_facts.described(facts)}" if facts else "predicted, not measured"
        _LOG.warning("there is no %s here: kernels are %s (effort=0 says that this is meant)", target, how)
    facts = facts or {"arch": target.arch, "tools": tools}
    conditions = gpu_facts.conditions_of(facts)
    return ProcessTuner(target, isa, cache, times, conditions, 1, dims, facts, measures)
