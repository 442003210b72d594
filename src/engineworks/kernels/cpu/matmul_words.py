"""What hand-written kernels share: argument words that are asked for by meaning, and symbols named after their code."""

from __future__ import annotations

import hashlib

from engineworks.codegen.llvm.function import Function
from engineworks.codegen.llvm.function import Size as Value
from engineworks.core.dims import Dim
from engineworks.kernels.tactic import Size, Word

_PLACEHOLDER = "KERNEL"


class Words:
    """The argument words of a kernel under construction.

    Ask for everything in the function's entry block: the loads are emitted where a word is first asked for.
    """

    def __init__(self, f: Function) -> None:
        self.f = f
        self.words: list[Word] = []
        self._sizes: dict[Dim, str] = {}

    def pointer(self, word: Word) -> str:
        """SSA pointer of a word that is an address."""
        self.words.append(word)
        return self.f.pointer(len(self.words) - 1)

    def size(self, dim: Dim) -> Value:
        """The dim as an i64: a constant, or a word that the engine fills in when shapes are bound."""
        if isinstance(dim, int):
            return dim
        if dim not in self._sizes:
            self.words.append(Size(dim))
            self._sizes[dim] = self.f.word(len(self.words) - 1)
        return self._sizes[dim]


def kernel_function() -> Function:
    """A kernel whose name is decided by `finish`."""
    return Function(_PLACEHOLDER)


def finish(f: Function, prefix: str) -> tuple[str, str]:
    """(symbol, definition): the symbol holds the hash of the code, so equal kernels are one."""
    text = f.text()
    symbol = f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return symbol, text.replace(f"@{_PLACEHOLDER}(", f"@{symbol}(", 1)
