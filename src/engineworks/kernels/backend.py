"""What the builder asks of a backend: which families of kernels there are, and how their functions become code."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, ClassVar

from engineworks.core.dims import Dim
from engineworks.core.target import Target
from engineworks.engine.schema import Compatible, TargetRecord
from engineworks.errors import BuildError, NoTactic
from engineworks.kernels.tactic import Effort, Step, Tactic, TacticProvider
from engineworks.kernels.workload import Workload

MAX_EFFORT = 5
STRICT_TACTICS = (1, 2, 4, 8, 16, 64)
"""Tactics kept of each family, by effort, when loose ones have been left out."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tactic and who proposed it."""

    provider: TacticProvider
    tactic: Tactic


@dataclass(frozen=True, slots=True)
class Code:
    """The code of one engine.

    Attributes:
        image: the code section.
        kernels: fields of `schema.Kernel` beside symbol and tactic, by symbol.
    """

    image: bytes
    kernels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """Which machines of a kind may load an engine (GPUs).

    Attributes:
        compatible: as `schema.TargetRecord.compatible`.
        facts: of the one it was tuned on, by name.
    """

    compatible: Compatible = ""
    facts: Mapping[str, str] = field(default_factory=dict)


ANY = Binding()
"""Nothing but the target binds."""


@dataclass(frozen=True, slots=True)
class Control:
    """A kernel of control flow: its function and declarations as in `KernelImage`, and the step that launches it.

    The words are filled in by the emitter; they are documented where the function is made.
    """

    functions: Mapping[str, Any]
    declarations: frozenset[str]
    step: Step


class Backend(ABC):
    """One kind of hardware; found through the entry points `engineworks.backends`.

    Attributes:
        name: the `device` of its targets.
        home: the package whose modules hold the families, each in a tuple PROVIDERS.
        epilogue_ops: native ops whose kernels do pointwise work on the accumulator.
        part_readers: native ops whose kernels read parts of tensors in place, through the strides of their types.
        multiplies_narrow: matrix units multiply two narrow floats several times as fast as f32, and f32 as TF32.
        resolves_by_kernel: sizes that depend on data are evaluated by a kernel, not by the runtime.
    """

    name: ClassVar[str]
    home: ClassVar[str]
    epilogue_ops: ClassVar[frozenset[str]]
    part_readers: ClassVar[frozenset[str]] = frozenset()
    multiplies_narrow: ClassVar[bool] = False
    resolves_by_kernel: ClassVar[bool]

    @functools.cached_property
    def providers(self) -> tuple[TacticProvider, ...]:
        """Every provider of the modules of `home`, in the order of their names."""
        found: list[TacticProvider] = []
        package = import_module(self.home)
        for module in sorted(iter_modules(package.__path__), key=lambda m: m.name):
            found += getattr(import_module(f"{self.home}.{module.name}"), "PROVIDERS", ())
        return tuple(found)

    def provider(self, name: str) -> TacticProvider:
        """The provider called `name`."""
        return next(p for p in self.providers if p.name == name)

    def propose(
        self,
        work: Workload,
        isa: Any,
        effort: Effort,
        *,
        strict: bool = False,
        sources: Collection[str] | None = None,
    ) -> tuple[list[Candidate], list[str]]:
        """Candidates of every family, best prediction first, and why the other families refuse.

        `strict` leaves out loose tactics; so that tighter ones of the same family are not cut off, all are asked for.
        `sources` are the vendors' libraries that may be called; None: all.
        """
        found: list[Candidate] = []
        refused: list[str] = []
        for provider in self.providers:
            source = getattr(provider, "source", None)
            if sources is not None and source is not None and source not in sources:
                refused.append(f"{provider.name}: '{source}' is not among the tactic sources")
                continue
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

    def claims(self, work: Workload, isa: Any) -> bool:
        """Some family computes `work`."""
        return bool(self.propose(work, isa, 0)[0])

    @abstractmethod
    def isa(self, target: Target) -> Any:
        """What to generate for `target`. Raises BuildError: no kernels are generated for it."""

    @abstractmethod
    def level(self, target: Target) -> Target:
        """The target that an engine built for `target` asks for, before its functions add what they need."""

    @abstractmethod
    def tools(self) -> str:
        """Versions of what compiles, for cache keys."""

    @abstractmethod
    def cache(self, folder: Path | None) -> Any:
        """The cache of compiled functions in a folder; None keeps them for this process only."""

    @abstractmethod
    def prepare(
        self, functions: Mapping[str, Any], declarations: Iterable[str], isa: Any, cache: Any
    ) -> None:
        """Compile functions into the cache, without linking them."""

    @abstractmethod
    def code(
        self,
        functions: Mapping[str, Any],
        declarations: Iterable[str],
        isa: Any,
        cache: Any,
        binding: Binding = ANY,
    ) -> Code:
        """The code of an engine with these functions."""

    @abstractmethod
    def target_record(
        self, level: Target, functions: Mapping[str, Any], binding: Binding = ANY
    ) -> TargetRecord:
        """What an engine with these functions needs of the machine."""

    @abstractmethod
    def overlaps(self, function: Any, isa: Any) -> bool:
        """A launch of the function may overlap with the one before it."""

    @abstractmethod
    def copy_step(self, symbol: str, size_bytes: Dim) -> Step:
        """The step of a copy of so many bytes by the kernel that `loop_control` gave; without words."""

    @abstractmethod
    def loop_control(self, what: str) -> Control:
        """A kernel of loops: 'start', 'next', 'count', 'copy' or 'copy_by_round' (codegen/llvm/counting.py says what
        each does and with which words).
        """


_OURS = {"cpu": "engineworks.kernels.cpu.backend", "cuda": "engineworks.kernels.cuda.backend"}
"""Our own backends, also registered as entry points."""


@functools.cache
def find(device: str) -> Backend:
    """The backend of a device.

    Raises:
        BuildError: no installed package provides it.
    """
    if device in _OURS:
        return import_module(_OURS[device]).BACKEND
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group="engineworks.backends")}
    if device not in found:
        raise BuildError(
            f"no kernels are generated for '{device}'; there are {', '.join(sorted({*found, *_OURS}))}"
        )
    return found[device].load()
