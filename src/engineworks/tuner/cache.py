"""The timing cache: JSON lines, appended to, merged by concatenation. One line a measured or rejected tactic, and one
for each GPU that such lines were measured on.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engineworks.errors import TuningError
from engineworks.kernels.tactic import Tactic, TacticProvider
from engineworks.kernels.workload import Workload

SIGNIFICANT_DIGITS = 4
"""Of stored seconds: builds compare stored values only, so that a build from the cache repeats the first one."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a measurement holds for besides workload and tactic: hardware, tools, threads."""

    target: str
    tools: str
    threads: int

    def text(self) -> str:
        return f"{self.target}|{self.tools}|{self.threads}"


def rounded(seconds: float) -> float:
    """Seconds as the cache stores them."""
    return float(f"{seconds:.{SIGNIFICANT_DIGITS}g}")


def cache_key(
    work: Workload, provider: TacticProvider, tactic: Tactic, conditions: Conditions, dims: Mapping[str, int]
) -> str:
    """sha256 over everything that can change the answer."""
    bound = ",".join(f"{k}={v}" for k, v in sorted(dims.items()))
    text = "\n".join((work.text(), tactic.text(), str(provider.version), conditions.text(), bound))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def code_fingerprint() -> str:
    """Changes with any source file that generates or checks kernels: a rejection holds for one such state only."""
    home = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for room in ("codegen", "ir", "kernels", "ops", "tuner"):
        for path in sorted((home / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def whole_key(identity: str, conditions: Conditions) -> str:
    """Key of a finished engine's times, without the number of threads."""
    return hashlib.sha256(f"{identity}\n{conditions.text()}".encode()).hexdigest()[:32]


class TimingCache:
    """Measurements by key.

    Args:
        path: read now, appended to by `add`; None keeps them in memory.

    Damaged lines (a build killed while writing) are skipped and counted in `damaged`. Rejections by other versions of
    the generators are passed over: what was wrong may have been mended.

    Attributes:
        facts: descriptions of the GPUs that lines were measured on, oldest first.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.damaged = 0
        self.facts: list[dict[str, str]] = []
        self._found: dict[str, float | str] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            if "facts" in entry:
                self.facts.append({str(k): str(v) for k, v in entry["facts"].items()})
            elif "seconds" in entry:
                self._found[entry["key"]] = float(entry["seconds"])
            elif entry["code"] == code_fingerprint():
                self._found[entry["key"]] = str(entry["rejected"])
        except (ValueError, KeyError, TypeError, AttributeError):
            self.damaged += bool(line.strip())

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> float | str | None:
        """Seconds, or why the tactic was rejected; None when it was never tried."""
        return self._found.get(key)

    def add(self, key: str, result: float | str, note: str, *, lasts: bool = True) -> float | str:
        """Remember a measurement (as stored: rounded).

        Args:
            result: seconds, or why the tactic was rejected.
            note: for people who read the file.
            lasts: False keeps it for this build only.
        """
        stored = rounded(result) if isinstance(result, float) else result
        self._found[key] = stored
        if self.path is not None and lasts:
            entry: dict[str, object] = {"key": key, "note": note}
            entry |= (
                {"seconds": stored}
                if isinstance(stored, float)
                else {"rejected": stored, "code": code_fingerprint()}
            )
            self._append(json.dumps(entry) + "\n")
        return stored

    def add_facts(self, facts: Mapping[str, str]) -> None:
        """Remember what the lines that follow are measured on."""
        if not self.facts or self.facts[-1] != facts:
            self.facts.append(dict(facts))
            if self.path is not None:
                self._append(json.dumps({"facts": dict(facts)}) + "\n")

    def _append(self, line: str) -> None:
        """One write under a lock, so that two builds at once never mix their lines."""
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                size = file.seek(0, os.SEEK_END)
                is_torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
                data = ("\n" if is_torn else "").encode() + line.encode()
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise TuningError(
                f"the timing cache '{self.path}' cannot be extended: {error.strerror}.\n"
                f"  Free space, give another file (timing_cache=…), or none (timing_cache=False)."
            ) from error
