"""Parameters of a kernel that is being written: pointers, and sizes that are literals where they are known."""

from __future__ import annotations

from engineworks.codegen.triton.function import Argument, pointer
from engineworks.core.dims import Dim, bounds, multiple_of
from engineworks.core.dtypes import DType

MOST_I32 = (1 << 31) - 1


class Parameters:
    """Collects arguments with the word of each; equal sizes share one.

    A word is what the step passes: any value for pointers, a Dim for sizes.
    """

    def __init__(self) -> None:
        self._arguments: list[Argument] = []
        self._words: list[object] = []
        self._sizes: dict[tuple[Dim, str], str] = {}

    @property
    def arguments(self) -> tuple[Argument, ...]:
        return tuple(self._arguments)

    @property
    def words(self) -> tuple[object, ...]:
        """One for each argument; sizes as Dims."""
        return tuple(self._words)

    @property
    def names(self) -> str:
        """The parameter list of the function."""
        return ", ".join(a.name for a in self._arguments)

    def pointer(self, name: str, dtype: DType, word: object) -> str:
        """A pointer parameter's name."""
        self._arguments.append(pointer(name, dtype))
        self._words.append(word)
        return name

    def number(self, name: str) -> str:
        """An i32 parameter whose word changes from launch to launch: None stands for it in `words`."""
        self._arguments.append(Argument(name, "i32"))
        self._words.append(None)
        return name

    def size(self, dim: Dim) -> str:
        """A count that fits i32: a literal or a parameter's name."""
        return str(dim) if isinstance(dim, int) else self._named(dim, "i32")

    def stride(self, dim: Dim) -> str:
        """Elements between neighbours: a literal, or a product that shows the powers of two that divide it, so that
        loads along other axes are as wide as they may be.
        """
        if isinstance(dim, int):
            return str(dim)
        two = multiple_of(dim) & -multiple_of(dim)
        _, high = bounds(dim)
        name = self._named(dim // two, "i64" if high is None or high > MOST_I32 else "i32")
        return name if two == 1 else f"({name} * {two})"

    def _named(self, dim: Dim, kind: str) -> str:
        found = self._sizes.get((dim, kind))
        if found is None:
            found = self._sizes[dim, kind] = f"size{len(self._sizes)}"
            self._arguments.append(Argument(found, kind))
            self._words.append(dim)
        return found
