"""The CUDA backend: Triton kernels, libraries, and how they become the code of an engine."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engineworks.codegen.triton.compile import triton_version
from engineworks.codegen.triton.function import KernelFunction
from engineworks.codegen.triton.gpu import Gpu, gpu_of
from engineworks.core.dims import Dim, ceil_div
from engineworks.core.target import Target
from engineworks.engine.library_calls import with_version
from engineworks.engine.schema import TargetRecord
from engineworks.kernels.backend import ANY, Backend, Binding, Code, Control
from engineworks.kernels.cuda.control import COPY_BYTES, loop_control
from engineworks.kernels.cuda.cubins import CubinCache, code_section
from engineworks.kernels.tactic import LibraryCall, Step


class CudaBackend(Backend):
    """See `Backend`."""

    name = "cuda"
    home = "engineworks.kernels.cuda"
    epilogue_ops = frozenset({"conv", "conv_transpose", "matmul", "normalised_matmul"})
    part_readers = frozenset({"attention"})
    multiplies_narrow = True
    resolves_by_kernel = False

    def isa(self, target: Target) -> Gpu:
        return gpu_of(target.arch)

    def level(self, target: Target) -> Target:
        return target

    def tools(self) -> str:
        return triton_version()

    def cache(self, folder: Path | None) -> CubinCache:
        return _cache(folder)

    def prepare(
        self, functions: Mapping[str, Any], declarations: Iterable[str], isa: Gpu, cache: CubinCache
    ) -> None:
        for function in functions.values():
            if isinstance(function, KernelFunction):
                cache.cubin(function, isa)

    def code(
        self,
        functions: Mapping[str, Any],
        declarations: Iterable[str],
        isa: Gpu,
        cache: CubinCache,
        binding: Binding = ANY,
    ) -> Code:
        kernels = {s: f for s, f in sorted(functions.items()) if isinstance(f, KernelFunction)}
        with_ptx = binding.compatible == "ampere_plus"
        image, facts = code_section({s: cache.cubin(f, isa) for s, f in kernels.items()}, with_ptx=with_ptx)
        for symbol, function in functions.items():
            if isinstance(function, LibraryCall):
                call = with_version(function.parameters, binding.facts.get(function.library, ""))
                facts[symbol] = {"library": function.library, "call": call}
        return Code(image, facts)

    def target_record(
        self, level: Target, functions: Mapping[str, Any], binding: Binding = ANY
    ) -> TargetRecord:
        return TargetRecord(level.device, level.arch, level.features, binding.compatible, dict(binding.facts))

    def overlaps(self, function: Any, isa: Gpu) -> bool:
        return isinstance(function, KernelFunction) and function.waits and isa.has("pdl")

    def copy_step(self, symbol: str, size_bytes: Dim) -> Step:
        return Step(symbol, (), grid=(ceil_div(size_bytes, COPY_BYTES),))

    def loop_control(self, what: str) -> Control:
        return loop_control(what)


@functools.cache
def _cache(folder: Path | None) -> CubinCache:
    """The cache of this process for a folder: what one build compiled, the next one has."""
    return CubinCache(folder)


BACKEND = CudaBackend()
