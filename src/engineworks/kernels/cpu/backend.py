"""The CPU backend: LLVM kernels, the instruction sets they are generated for, and how they become an engine's code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from engineworks.codegen.llvm import counting
from engineworks.codegen.llvm.compile import llvm_version
from engineworks.codegen.llvm.function import AVX2, AVX512, Function, Isa
from engineworks.core.dims import Dim, ceil_div
from engineworks.core.target import EXTRAS, Target, parse
from engineworks.engine.schema import TargetRecord
from engineworks.errors import BuildError
from engineworks.kernels.backend import ANY, Backend, Binding, Code, Control
from engineworks.kernels.image import ObjectCache, function_module, image_of, object_cache, target_record
from engineworks.kernels.tactic import Step


class CpuBackend(Backend):
    """See `Backend`."""

    name = "cpu"
    home = "engineworks.kernels.cpu"
    epilogue_ops = frozenset({"conv", "conv_transpose", "matmul"})
    resolves_by_kernel = True

    def isa(self, target: Target) -> Isa:
        levels = {"x86-64-v4": AVX512, "x86-64-v3": AVX2}
        if target.arch not in levels:
            raise BuildError(f"no kernels are generated for {target}; there are {', '.join(levels)}")
        return levels[target.arch].with_extras(*(f for f in target.features if f in EXTRAS))

    def level(self, target: Target) -> Target:
        """Code is generated for a level, not for every feature of this machine, and the engine asks for no more."""
        return parse(f"{target.device}:{target.arch}")

    def tools(self) -> str:
        return llvm_version()

    def cache(self, folder: Path | None) -> ObjectCache:
        return object_cache(folder)

    def prepare(
        self, functions: Mapping[str, str], declarations: Iterable[str], isa: Isa, cache: ObjectCache
    ) -> None:
        declared = sorted(declarations)
        for text in functions.values():
            cache.object(function_module(text, declared, isa), isa)

    def code(
        self,
        functions: Mapping[str, str],
        declarations: Iterable[str],
        isa: Isa,
        cache: ObjectCache,
        binding: Binding = ANY,
    ) -> Code:
        return Code(image_of(functions, declarations, isa, cache))

    def target_record(
        self, level: Target, functions: Mapping[str, str], binding: Binding = ANY
    ) -> TargetRecord:
        return target_record(level, functions)

    def overlaps(self, function: object, isa: Isa) -> bool:
        return False

    def copy_step(self, symbol: str, size_bytes: Dim) -> Step:
        return Step(symbol, (), ceil_div(size_bytes, counting.COPY_BYTES))

    def loop_control(self, what: str) -> Control:
        symbol = what if what.startswith("copy") else f"loop_{what}"
        function = _LOOP_KERNELS[what](symbol)
        return Control({symbol: function.text()}, frozenset(function.declarations), Step(symbol, ()))


def _copy(name: str) -> Function:
    return counting.emit_copy(name, by_round=False)


def _copy_by_round(name: str) -> Function:
    return counting.emit_copy(name, by_round=True)


_LOOP_KERNELS = {
    "start": counting.emit_loop_start, "next": counting.emit_loop_next, "count": counting.emit_loop_count,
    "copy": _copy, "copy_by_round": _copy_by_round,
}  # fmt: skip

BACKEND = CpuBackend()
