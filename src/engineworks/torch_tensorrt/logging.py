"""`torch_tensorrt.logging`: how much the log of Engineworks ("engineworks" in Python's logging) tells."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger("engineworks")


def set_level(level: int, logger: Any = None) -> None:
    """Show messages from this level of Python's logging on."""
    (logger or _log).setLevel(level)


class _Level:
    """A level for the length of a `with` block."""

    level = logging.WARNING

    def __enter__(self) -> None:
        self._before = _log.level
        _log.setLevel(self.level)

    def __exit__(self, *_: object) -> None:
        _log.setLevel(self._before)


class internal_errors(_Level):
    """Only what should never happen."""

    level = logging.CRITICAL


class errors(_Level):
    """Errors."""

    level = logging.ERROR


class warnings(_Level):
    """Warnings and errors."""

    level = logging.WARNING


class info(_Level):
    """What was decided."""

    level = logging.INFO


class debug(_Level):
    """Everything."""

    level = logging.DEBUG


class graphs(_Level):
    """Everything."""

    level = logging.DEBUG
