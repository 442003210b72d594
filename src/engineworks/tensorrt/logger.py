"""Loggers: subclass ILogger and define log(severity, message), or take Logger, which writes to standard error."""

from __future__ import annotations

import sys
import time
from typing import Any

from engineworks.tensorrt.enums import Severity

_LETTERS = {
    Severity.INTERNAL_ERROR: "F",
    Severity.ERROR: "E",
    Severity.WARNING: "W",
    Severity.INFO: "I",
    Severity.VERBOSE: "V",
}


class ILogger:
    """Takes messages; a subclass says what happens to them."""

    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING
    INFO, VERBOSE = Severity.INFO, Severity.VERBOSE

    def log(self, severity: Severity, msg: str) -> None:
        """Called with every message."""
        raise NotImplementedError("a logger defines log(severity, msg)")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Logger(ILogger):
    """Writes messages at least as serious as `min_severity` to standard error."""

    def __init__(self, min_severity: Severity = Severity.WARNING) -> None:
        self.min_severity = Severity(min_severity)

    def log(self, severity: Severity, msg: str) -> None:
        if severity <= self.min_severity:
            stamp = time.strftime("%m/%d/%Y-%H:%M:%S")
            sys.stderr.write(f"[{stamp}] [TRT] [{_LETTERS[Severity(severity)]}] {msg}\n")
