"""An image while it is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

import numpy as np

from engineworks.codegen.llvm.function import Function
from engineworks.core.dims import Dim
from engineworks.kernels.cpu.words import Words, finish
from engineworks.kernels.tactic import KernelImage, Packed, PackedConstant, Step, Workspace


@dataclass(slots=True)
class ImageParts:
    """Collects code, launches, constants and temporary buffers of one tactic."""

    functions: dict[str, str] = field(default_factory=dict)
    declarations: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    packed: list[PackedConstant] = field(default_factory=list)
    workspace: list[Dim] = field(default_factory=list)
    scratch_bytes: int = 0

    def pack(self, make: Callable[[Mapping[int, np.ndarray]], np.ndarray]) -> Packed:
        """A constant made at build."""
        return self.constant(PackedConstant(make))

    def constant(self, packed: PackedConstant) -> Packed:
        """One more packed constant."""
        self.packed.append(packed)
        return Packed(len(self.packed) - 1)

    def buffer(self, size_bytes: Dim) -> Workspace:
        """A temporary buffer."""
        self.workspace.append(size_bytes)
        return Workspace(len(self.workspace) - 1)

    def step(self, prefix: str, f: Function, words: Words, tasks: Dim, chunk_hint: int = 0) -> None:
        """Launch the finished `f`."""
        symbol, text = finish(f, prefix)
        self.add(symbol, text, f.declarations, Step(symbol, tuple(words.words), tasks, chunk_hint=chunk_hint))

    def add(self, symbol: str, text: str, declarations: Set[str], step: Step) -> None:
        """Launch a finished kernel."""
        self.functions[symbol] = text
        self.declarations |= declarations
        self.steps.append(step)

    def image(self) -> KernelImage:
        """All of it."""
        return KernelImage(
            self.functions,
            frozenset(self.declarations),
            tuple(self.steps),
            tuple(self.packed),
            tuple(self.workspace),
            self.scratch_bytes,
        )
