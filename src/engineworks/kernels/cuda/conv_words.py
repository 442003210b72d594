"""Parameters of a kernel while its text is written, and the words that its step passes for them."""

from __future__ import annotations

from engineworks.codegen.triton.function import Argument, pointer
from engineworks.core.dims import Dim, bounds, multiple_of
from engineworks.core.dtypes import DType
from engineworks.kernels.tactic import Size, Word

LARGEST = (1 << 31) - 1


class Words:
    """Each address and each size that is not known at build becomes one parameter."""

    def __init__(self) -> None:
        self._found: dict[Word, Argument] = {}

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """In order."""
        return tuple(self._found.values())

    @property
    def words(self) -> tuple[Word, ...]:
        """One for each argument."""
        return tuple(self._found)

    @property
    def parameters(self) -> str:
        """The parameter list of the function."""
        return ", ".join(a.name for a in self._found.values())

    def pointer(self, name: str, dtype: DType, word: Word) -> str:
        """An address of elements of `dtype`; the same word has the name it got first."""
        return self._found.setdefault(word, pointer(name, dtype)).name

    def size(self, dim: Dim) -> str:
        """A size as text: a literal, or what is known to divide it times a parameter.

        Sizes beyond 2^31 - 1 are i64; those without a known bound that are single symbols are taken to be smaller.
        """
        if isinstance(dim, int):
            return str(dim) if dim >= 0 else f"({dim})"
        factor = max(1, multiple_of(dim))
        rest = dim // factor
        if isinstance(rest, int):
            return str(rest * factor)
        kind = "i32" if is_narrow(rest) else "i64"
        name = self._found.setdefault(Size(rest), Argument(f"size{len(self._found)}", kind)).name
        if factor == 1:
            return name
        wide = f"{name}.to(tl.int64)" if kind == "i32" and not is_narrow(dim) else name
        return f"({wide} * {factor})"


def is_narrow(dim: Dim) -> bool:
    """Known, or for one symbol or sum of symbols taken, to fit 31 bits."""
    if isinstance(dim, int):
        return abs(dim) <= LARGEST
    low, high = bounds(dim)
    if high is not None:
        return high <= LARGEST and (low is None or low >= -LARGEST)
    return all(len(monomial) <= 1 for monomial, _ in dim.terms)
