"""The text of a kernel while it is written: indented lines and fresh names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Lines:
    """Collects lines; `str` gives the text."""

    def __init__(self, indent: int = 0) -> None:
        self._lines: list[str] = []
        self._indent = indent
        self._fresh = 0

    def line(self, text: str) -> None:
        """One line, or several, at the current indentation."""
        self._lines += [" " * 4 * self._indent + each if each else "" for each in text.split("\n")]

    def name(self, prefix: str = "t") -> str:
        """A name not used before."""
        self._fresh += 1
        return f"{prefix}{self._fresh}"

    def let(self, value: str, prefix: str = "t") -> str:
        """A new name for a value."""
        name = self.name(prefix)
        self.line(f"{name} = {value}")
        return name

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines behind `head` (with its colon), indented."""
        self.line(head)
        self._indent += 1
        yield
        self._indent -= 1

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"
