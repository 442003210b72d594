"""Tactics: the ways to compute a workload, and the images they build."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.kernels.workload import Workload

Hardware = Isa | Gpu
"""What code is generated for."""

Effort = int
"""0 predict only … 3 default … 5 the whole space, as TensorRT's builder optimisation level."""


@dataclass(frozen=True, slots=True)
class Tactic:
    """One way: the provider's name and its configuration (a frozen dataclass whose text is its identity).

    `predicted_s`: seconds by the provider's cost model on one thread; used at effort 0 and to rank candidates.
    `is_loose`: rounds more coarsely than the direct form (Winograd F(4,3)); left out by `strict_math`.
    """

    provider: str
    config: Any
    predicted_s: float = 0.0
    is_loose: bool = False

    def text(self) -> str:
        """Provider and configuration, as explain and the timing cache show it."""
        return f"{self.provider} {self.config}"


# -- what a step's argument words are -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Input:
    """Address of workload input `index`, plus bytes."""

    index: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """Address of workload output `index`, plus bytes."""

    index: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Packed:
    """Address of `KernelImage.packed[index]` in the weights section."""

    index: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Workspace:
    """Address of `KernelImage.workspace[index]` in the arena (alive from the image's first to its last step)."""

    index: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """An integer word: a dim, constant or symbolic."""

    dim: Dim


@dataclass(frozen=True, slots=True)
class Symbols:
    """Address of the int64 slot of the symbol `name`, for kernels that write a data-dependent size."""

    name: str


@dataclass(frozen=True, slots=True)
class TensorMap:
    """A descriptor for the GPU's tensor copies of a dense tensor (a 'tensordesc' argument).

    Attributes:
        base: where it begins; a multiple of 16 bytes.
        sizes, strides: in elements, outermost first; the last stride is 1, the others are multiples of 16 bytes.
        box: elements that one copy moves, the block shape of the argument's type.
    """

    base: Input | Output | Packed | Workspace
    dtype: DType
    sizes: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    box: tuple[int, ...]


Word = Input | Output | Packed | Workspace | Size | Symbols | TensorMap


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """A function of a vendor's library in place of a kernel of ours; the step that names it has its words.

    Attributes:
        library: 'cublaslt' or 'cudnn'.
        parameters: JSON text that the runtime's side of the library reads.
    """

    library: str
    parameters: str


@dataclass(frozen=True, slots=True)
class PackedConstant:
    """Data made at build, 64-byte aligned in the file.

    `pack` gets the constant inputs by index and returns a contiguous array.
    """

    pack: Callable[[Mapping[int, np.ndarray]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Step:
    """One launch: kernel symbol, argument words in order, and the size of its task space.

    On the CPU `single` runs it on thread 0 alone. `chunk_hint`: 0 static split, else dynamic chunks for each thread.
    On a GPU `grid` has the number of blocks in x, y and z (1 to 3 of them), and `tasks` means nothing.
    """

    symbol: str
    words: tuple[Word, ...]
    tasks: Dim = 1
    single: bool = False
    chunk_hint: int = 0
    grid: tuple[Dim, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelImage:
    """All that the engine needs of one chosen tactic.

    Attributes:
        functions: definitions by symbol: LLVM text, Triton kernels or library calls, as the backend has it. Symbols
            hold the hash of everything they depend on, so equal symbols are equal code and are emitted once an engine.
        declarations: LLVM declarations they need (intrinsics only: kernels never call out).
        steps: launches in order, a barrier after each.
        workspace: bytes of each temporary buffer.
        scratch_bytes: thread-private memory the kernels need.
        writes_symbols: names of data-dependent symbols that the steps write.
    """

    functions: Mapping[str, Any]
    declarations: frozenset[str]
    steps: tuple[Step, ...]
    packed: tuple[PackedConstant, ...] = ()
    workspace: tuple[Dim, ...] = ()
    scratch_bytes: int = 0
    writes_symbols: tuple[str, ...] = field(default=())


class TacticProvider(Protocol):
    """One family of kernels. `isa` is the `Isa` or the `Gpu` that its backend generates for."""

    name: str
    version: int

    def propose(self, work: Workload, isa: Any, effort: Effort) -> Iterable[Tactic]:
        """The configurations worth trying, best prediction first; at effort 0 exactly one.

        Raises:
            NoTactic: this family cannot compute `work`; the message says why (shown by explain).
        """
        ...

    def build(self, work: Workload, tactic: Tactic, isa: Any) -> KernelImage:
        """The image of one tactic that `propose` gave for `work`. Pure: no constants' values, no clock."""
        ...
