"""The tuner of a build: which cache, which conditions."""

from __future__ import annotations

from collections.abc import Mapping

from engineworks.builder.config import BuildConfig
from engineworks.builder.places import cache_folder
from engineworks.codegen.llvm.compile import llvm_version
from engineworks.codegen.llvm.function import Isa
from engineworks.core import target as targets
from engineworks.kernels.image import ObjectCache
from engineworks.runtime.cpu.pool import available_cores
from engineworks.tuner.cache import Conditions, TimingCache
from engineworks.tuner.measure import ProcessTuner


def make_tuner(config: BuildConfig, isa: Isa, objects: ObjectCache, dims: Mapping[str, int]) -> ProcessTuner:
    """A tuner for this machine; `dims` are the typical values of the symbols."""
    path = (
        None if config.timing_cache is False else config.timing_cache or cache_folder("timings") / "cpu.jsonl"
    )
    threads = config.threads or available_cores()
    conditions = Conditions(targets.host().fingerprint, llvm_version(), threads)
    return ProcessTuner(
        targets.parse(config.target), isa, objects, TimingCache(path), conditions, threads, dims
    )
