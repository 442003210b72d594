"""The CPU backend: its kernel families, found by module, and the instruction sets it generates for."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core.target import EXTRAS, Target
from engineworks.errors import BuildError, NoTactic
from engineworks.kernels.tactic import Effort, Tactic, TacticProvider
from engineworks.kernels.workload import Workload

EPILOGUE_OPS = frozenset({"conv", "conv_transpose", "matmul"})
"""Native ops whose kernels do pointwise work on the accumulator."""
MAX_EFFORT = 5
STRICT_TACTICS = (1, 2, 4, 8, 16, 64)
"""Tactics kept of each family, by effort, when loose ones have been left out."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tactic and who proposed it."""

    provider: TacticProvider
    tactic: Tactic


class CpuBackend:
    """Found through the entry point `engineworks.backends`."""

    name = "cpu"
    epilogue_ops = EPILOGUE_OPS

    @functools.cached_property
    def providers(self) -> tuple[TacticProvider, ...]:
        """Every provider of the modules beside this one, in the order of their names."""
        import engineworks.kernels.cpu as home

        found: list[TacticProvider] = []
        for module in sorted(iter_modules(home.__path__), key=lambda m: m.name):
            found += getattr(import_module(f"{home.__name__}.{module.name}"), "PROVIDERS", ())
        return tuple(found)

    def isa(self, target: Target) -> Isa:
        """What to generate for `target`.

        Raises:
            BuildError: the level has no generator.
        """
        levels = {"x86-64-v4": AVX512, "x86-64-v3": AVX2}
        if target.arch not in levels:
            raise BuildError(f"no kernels are generated for {target}; there are {', '.join(levels)}")
        return levels[target.arch].with_extras(*(f for f in target.features if f in EXTRAS))

    def provider(self, name: str) -> TacticProvider:
        """The provider called `name`."""
        return next(p for p in self.providers if p.name == name)

    def propose(
        self, work: Workload, isa: Isa, effort: Effort, *, strict: bool = False
    ) -> tuple[list[Candidate], list[str]]:
        """Candidates of every family, best prediction first, and why the other families refuse.

        `strict` leaves out loose tactics; so that tighter ones of the same family are not cut off, all are asked for.
        """
        found: list[Candidate] = []
        refused: list[str] = []
        for provider in self.providers:
            try:
                tactics = list(provider.propose(work, isa, MAX_EFFORT if strict else effort))
            except NoTactic as why:
                refused.append(f"{provider.name}: {why}")
                continue
            if strict:
                tactics = [t for t in tactics if not t.is_loose][: STRICT_TACTICS[effort]]
            found += [Candidate(provider, t) for t in tactics]
        found.sort(key=lambda c: c.tactic.predicted_s)
        return found, refused

    def claims(self, work: Workload, isa: Isa) -> bool:
        """Some family computes `work`."""
        return bool(self.propose(work, isa, 0)[0])


def names(providers: Iterable[TacticProvider]) -> list[str]:
    """Provider names and versions, for cache keys and reports."""
    return [f"{p.name}/{p.version}" for p in providers]


BACKEND = CpuBackend()
