"""What hand-written Triton kernels share: parameters asked for by meaning, and launches that pass them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineworks.codegen.triton.casts import (
    from_memory,
    held_type,
    into_memory,
    portable_pointer,
    rounded,
)
from engineworks.codegen.triton.function import Argument, KernelFunction, named, pointer
from engineworks.codegen.triton.lines import Lines
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds
from engineworks.core.dtypes import DType
from engineworks.kernels.tactic import Size, Step, Symbols, Word

WAIT = "gdc_wait()\n    gdc_launch_dependents()"
"""How a kernel begins that reads nothing before the kernels before it have written."""
Part = tuple[Step, Mapping[str, KernelFunction]]
"""One launch of a tactic, and its functions by symbol."""
_UNSIGNED = {1: dtypes.u8, 2: dtypes.u16, 4: dtypes.u32, 8: dtypes.u64}


class Launch:
    """The parameters of one kernel while its text is put together, and the words that its launch must pass.

    The text takes them where it says `{parameters}`, and what is asked for here by name in braces.
    """

    def __init__(self) -> None:
        self._arguments: list[Argument] = []
        self._words: list[Word] = []
        self._sizes: dict[Dim, str] = {}
        self._fills: dict[str, object] = {}

    def elements(self, name: str, word: Word, dtype: DType) -> Launch:
        """A parameter that points to elements of `dtype`."""
        return self._add(pointer(name, dtype), word)

    def bits(self, name: str, word: Word, dtype: DType) -> Launch:
        """A parameter that points to elements of `dtype`, taken as unsigned integers of their width."""
        return self._add(pointer(name, unsigned(dtype)), word)

    def numbers(self, name: str, word: Word, dtype: DType) -> Launch:
        """A parameter that points to elements of `dtype` which go through `conversions`."""
        return self._add(portable_pointer(name, dtype), word)

    def symbol(self, name: str, dim: Dim) -> Launch:
        """A parameter that points to the i64 slot of a size that depends on data."""
        return self._add(Argument(name, "*i64"), Symbols(slot_name(dim)))

    def sizes(self, **dims: Dim) -> Launch:
        """Fills: each dim as its number, or as the name of a parameter that has it."""
        for name, dim in dims.items():
            self._fills[name] = self._size(dim)
        return self

    def fill(self, **values: object) -> Launch:
        """Fills: pieces of text and numbers."""
        self._fills.update(values)
        return self

    def filled(self, piece: str, **values: object) -> str:
        """A piece of text with what has been filled in so far."""
        return piece.format(**self._fills, **values)

    def step(self, family: str, text: str, grid: Sequence[Dim], *, warps: int = 4, stages: int = 2) -> Part:
        """The finished launch, and its function by symbol. The text must call `gdc_wait`."""
        parameters = ", ".join(a.name for a in self._arguments)
        body = text.format(parameters=parameters, wait=WAIT, **self._fills)
        function = named(family, body, tuple(self._arguments), warps=warps, stages=stages, waits=True)
        return Step(function.name, tuple(self._words), grid=tuple(grid)), {function.name: function}

    def _add(self, argument: Argument, word: Word) -> Launch:
        self._arguments.append(argument)
        self._words.append(word)
        return self

    def _size(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        if dim not in self._sizes:
            self._sizes[dim] = f"size{len(self._sizes)}"
            self._add(Argument(self._sizes[dim], index_type(dim)), Size(dim))
        return self._sizes[dim]


def conversions(dtype: DType) -> str:
    """Functions `held(raw)` and `stored(value)` between memory and what is computed with: fp32 for narrow floats."""
    lines = Lines()
    with lines.block("@triton.jit\ndef held(raw):"):
        lines.line(f"return {from_memory(lines, 'raw', dtype)}")
    lines.line("")
    with lines.block("@triton.jit\ndef stored(value):"):
        name = lines.let(rounded(lines, "value", dtype) if dtype.is_float else "value")
        lines.line(f"return {into_memory(lines, name, dtype)}")
    return str(lines)


def sum_type(dtype: DType) -> str:
    """What elements are added up in: fp32 or fp64, integers of 32 or 64 bits, which wrap as narrower ones do."""
    if dtype.is_float or dtype.bits >= 32:
        return held_type(dtype)
    return "tl.uint32" if dtype.kind == "uint" else "tl.int32"


def index_type(count: Dim) -> str:
    """'i32' where numbers below `count` are known to fit, else 'i64'."""
    highest = bounds(count)[1]
    return "i64" if highest is None or highest >= 1 << 31 else "i32"


def index_cast(*counts: Dim) -> str:
    """Triton's type of offsets into buffers of so many elements."""
    return "tl.int64" if any(index_type(c) == "i64" for c in counts) else "tl.int32"


def slot_name(dim: Dim) -> str:
    """The name of a symbol that stands alone as a dim."""
    return str(dim).strip("`")


def unsigned(dtype: DType) -> DType:
    """The unsigned integers as wide as an element in memory."""
    return _UNSIGNED[dtype.size_bytes]


def steps_of(parts: Sequence[Part]) -> tuple[Step, ...]:
    """The launches, in order."""
    return tuple(step for step, _ in parts)


def functions_of(parts: Sequence[Part]) -> dict[str, KernelFunction]:
    """The functions of all launches."""
    return {symbol: function for _, functions in parts for symbol, function in functions.items()}
