"""Who took how long and who decided what, recorded while it happens. Nothing is printed here.

A `Trace` is passed to whoever has something to say; the build report and the progress display read it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time. `depth` counts the spans around it in its thread; `start_s` is from the
    trace's start.
    """

    name: str
    start_s: float
    duration_s: float
    depth: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice: what was decided about `subject`, and why. `by` names the pass, rule or tactic provider."""

    by: str
    subject: str
    choice: str
    why: str


Listener = Callable[[Span | Decision], None]


@dataclass(slots=True)
class Trace:
    """Collects spans, decisions and counters; may be used from several threads.

    Args:
        listener: called with each span as it ends and each decision as it is made, in the thread that made
        it.
    """

    listener: Listener | None = None
    spans: list[Span] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    _zero: float = field(default_factory=time.perf_counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _local: threading.local = field(default_factory=threading.local)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time the body; it is recorded even when the body raises."""
        depth = getattr(self._local, "depth", 0)
        self._local.depth = depth + 1
        start = time.perf_counter()
        try:
            yield
        finally:
            self._local.depth = depth
            done = Span(name, start - self._zero, time.perf_counter() - start, depth)
            self.spans.append(done)
            if self.listener is not None:
                self.listener(done)

    def decide(self, by: str, subject: str, choice: str, why: str) -> None:
        """Record a decision."""
        made = Decision(by, subject, choice, why)
        self.decisions.append(made)
        if self.listener is not None:
            self.listener(made)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self.counters[name] = self.counters.get(name, 0) + amount
