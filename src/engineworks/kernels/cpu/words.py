"""What hand-written kernels share: argument words that are asked for by meaning, and symbols named after their code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from engineworks.codegen.llvm.function import Function
from engineworks.codegen.llvm.function import Size as Value
from engineworks.core.dims import Dim
from engineworks.kernels.tactic import Size, Word


class Words:
    """Hands out a kernel's arguments while it is emitted, and remembers the words that its launches must pass.

    Ask for everything in the function's entry block: the loads are emitted where a word is first asked for.
    """

    def __init__(self, f: Function) -> None:
        self.f = f
        self.words: list[Word] = []
        self._known: dict[Word, str] = {}

    def pointer(self, word: Word) -> str:
        """SSA pointer of a word that is an address."""
        if word not in self._known:
            self._known[word] = self.f.pointer(len(self.words))
            self.words.append(word)
        return self._known[word]

    def size(self, dim: Dim) -> Value:
        """The dim as an i64: a constant, or a word that the engine fills in when shapes are bound."""
        if isinstance(dim, int):
            return dim
        word = Size(dim)
        if word not in self._known:
            self._known[word] = self.f.word(len(self.words))
            self.words.append(word)
        return self._known[word]

    def sizes(self, dims: Sequence[Dim]) -> tuple[Value, ...]:
        """Each dim as `size` gives it."""
        return tuple(self.size(d) for d in dims)


def kernel_function() -> Function:
    """A kernel whose name is decided by `finish`."""
    return Function("KERNEL")


def finish(f: Function, prefix: str) -> tuple[str, str]:
    """(symbol, definition): the symbol holds the hash of the code, so equal kernels are one."""
    text = f.text()
    symbol = f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return symbol, text.replace(f"@{f.name}(", f"@{symbol}(", 1)
