"""What kernels of single operators share: claiming an op, argument words, elements by address, work per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.vector import storage_kind
from engineworks.core.dims import Dim, bounds, product
from engineworks.core.dtypes import DType
from engineworks.kernels import cost
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.native import plain_operands
from engineworks.kernels.tactic import (
    Effort,
    Input,
    KernelImage,
    Output,
    Step,
    Symbols,
    Tactic,
    Word,
    Workspace,
)
from engineworks.kernels.workload import Workload

MAX_SCRATCH_BYTES = 64 << 20
"""Lines that need more thread-private memory take it from the arena, one piece for each line."""


@dataclass(frozen=True, slots=True)
class OneWay:
    """The configuration of a family that knows a single way."""


class NativeKernels:
    """A provider of one op on row-major tensors without an epilogue.

    Class attributes:
        name, version: of the provider.
        op: name of the op.
        any_order: its operands may lie in any order of axes, rows not padded.
        cycles_an_element: of the largest operand, for predictions.
    """

    name: str
    version = 1
    op: str
    any_order = False
    cycles_an_element = 4.0

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """The one tactic. Raises NoTactic for other ops, layouts, an epilogue, or what `refuse` names."""
        types = plain_operands(work, self.op, any_order=self.any_order)
        self.refuse(work)
        largest = max(cost.typical(t.count, 1 << 20) for t in types)
        seconds = largest * self.cycles_an_element / cost.CORE.clock_hz + cost.CORE.launch_s
        return [Tactic(self.name, OneWay(), seconds)]

    def refuse(self, work: Workload) -> None:
        """Raise NoTactic where the kernels cannot do what the op asks."""

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        raise NotImplementedError


class KernelBuilder:
    """One kernel under construction.

    Attributes:
        f, isa: where code goes, and for what.
    """

    def __init__(self, isa: Isa) -> None:
        self.f: Function = kernel_function()
        self.isa = isa
        self._words = Words(self.f)

    def input(self, index: int) -> str:
        return self._words.pointer(Input(index))

    def output(self, index: int) -> str:
        return self._words.pointer(Output(index))

    def workspace(self, index: int) -> str:
        return self._words.pointer(Workspace(index))

    def symbol(self, dim: Dim) -> str:
        """Address of the slot of a data-dependent size."""
        return self._words.pointer(Symbols(str(dim).strip("`")))

    def size(self, dim: Dim) -> Size:
        return self._words.size(dim)

    def sizes(self, dims: Sequence[Dim]) -> list[Size]:
        return [self.size(d) for d in dims]

    # -- elements ---------------------------------------------------------------------------------------------
    def load(self, kind: str, pointer: str, offset: Size = 0) -> str:
        """Element `offset` of an array of LLVM type `kind`."""
        return self.f.value(f"load {kind}, ptr {self.f.at(pointer, offset, kind)}")

    def store(self, kind: str, value: Size, pointer: str, offset: Size = 0) -> None:
        self.f.line(f"store {kind} {value}, ptr {self.f.at(pointer, offset, kind)}")

    def raw(self, dtype: DType, pointer: str, offset: Size) -> str:
        """Element `offset` as the integer of its bits."""
        return self.load(f"i{dtype.size_bytes * 8}", pointer, offset)

    def store_raw(self, dtype: DType, value: str, pointer: str, offset: Size) -> None:
        self.store(f"i{dtype.size_bytes * 8}", value, pointer, offset)

    def index(self, dtype: DType, pointer: str, offset: Size) -> str:
        """Element `offset` of an integer array as i64."""
        value = self.load(storage_kind(dtype), pointer, offset)
        if dtype.size_bytes == 8:
            return value
        return self.f.value(f"{'zext' if dtype.kind == 'uint' else 'sext'} i{dtype.bits} {value} to i64")

    def wrapped(self, index: str, extent: Size) -> str:
        """Negative indices count from the end."""
        behind = self.f.add(index, extent)
        return self.f.value(f"select i1 {self.f.compare('slt', index, 0)}, i64 {behind}, i64 {index}")

    # -- control ----------------------------------------------------------------------------------------------
    @contextmanager
    def repeat_while(self) -> Iterator[Loop]:
        """A loop that `loop.leave_unless(i1)` ends; variables carry what changes."""
        f = self.f
        head, end = f.fresh("again"), f.fresh("done")
        f.line(f"br label %{head}")
        f.label(head)
        yield Loop(f, end)
        f.line(f"br label %{head}")
        f.label(end)

    # -- the result -------------------------------------------------------------------------------------------
    def step(self, prefix: str, tasks: Dim, *, single: bool = False) -> tuple[Step, dict[str, str]]:
        """The finished launch, and its definition by symbol."""
        symbol, text = finish(self.f, prefix)
        words: tuple[Word, ...] = tuple(self._words.words)
        return Step(symbol, words, tasks, single), {symbol: text}


@dataclass(frozen=True, slots=True)
class Loop:
    """See `KernelBuilder.repeat_while`."""

    f: Function
    end: str

    def leave_unless(self, condition: str) -> None:
        """Go on only while the i1 is true."""
        inside = self.f.fresh("go")
        self.f.line(f"br i1 {condition}, label %{inside}, label %{self.end}")
        self.f.label(inside)


def image(
    steps: Sequence[tuple[Step, dict[str, str]]],
    builders: Sequence[KernelBuilder],
    *,
    workspace: Sequence[Dim] = (),
    scratch_bytes: int = 0,
    writes: Sequence[Dim] = (),
) -> KernelImage:
    """The image of finished kernels."""
    functions: dict[str, str] = {}
    for _, texts in steps:
        functions |= texts
    declared = frozenset().union(*(b.f.declarations for b in builders))
    names = tuple(str(d).strip("`") for d in writes if not isinstance(d, int))
    return KernelImage(functions, declared, tuple(s for s, _ in steps), workspace=tuple(workspace),
                       scratch_bytes=scratch_bytes, writes_symbols=names)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LineMemory:
    """Temporary memory of one line (task): thread-private where its size has a bound, else a piece of the arena."""

    bytes_a_line: Dim
    lines: Dim

    @property
    def scratch_bytes(self) -> int:
        """0 when the arena serves."""
        highest = bounds(self.bytes_a_line)[1]
        return 0 if highest is None or highest > MAX_SCRATCH_BYTES else -(-highest // 64) * 64

    @property
    def workspace(self) -> tuple[Dim, ...]:
        return () if self.scratch_bytes else (self.lines * self.bytes_a_line,)

    def pointers(self, k: KernelBuilder) -> tuple[str, Size]:
        """Base and bytes between lines; ask in the entry block."""
        return ("%scratch", 0) if self.scratch_bytes else (k.workspace(0), k.size(self.bytes_a_line))


def lines_of(shape: Sequence[Dim], axis: int) -> tuple[Dim, Dim, Dim]:
    """(lines outside, elements of a line, distance between neighbours) along `axis` of a row-major tensor."""
    return product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
