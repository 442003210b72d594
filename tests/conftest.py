"""Order, settings and timings shared by all tests."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from engineworks.core import target
from engineworks.errors import EngineMismatch

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parent
LAYERS = (
    "architecture",
    "unit",
    "property",
    "golden",
    "docs",
    "examples",
    "conformance",
    "models",
    "robustness",
    "benchmarks",
)
"""Quick and basic first: what breaks below explains what breaks above."""

# Compiled kernels are kept between runs, away from the user's own cache; their keys hold all they depend on.
os.environ.setdefault("ENGINEWORKS_CACHE_DIR", str(ROOT.parent / "build" / "test-cache"))

# The same examples at every run; no deadlines, as other processes share the cores.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("repeatable")

_seconds: defaultdict[str, float] = defaultdict(float)
_counts: defaultdict[str, int] = defaultdict(int)


def _layer(nodeid: str) -> str:
    parts = nodeid.split("/")
    return parts[1] if parts[0] == "tests" and len(parts) > 2 else "other"


def _rank(layer: str) -> int:
    return LAYERS.index(layer) if layer in LAYERS else len(LAYERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Layers from the bottom up."""
    items.sort(key=lambda item: _rank(_layer(item.nodeid)))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """On a CPU without AVX-512, what needs it is skipped, and says so."""
    try:
        return (yield)
    except EngineMismatch as error:
        if "avx512f" in target.host_features():
            raise
        pytest.skip(str(error))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds up the seconds of each layer."""
    layer = _layer(report.nodeid)
    _seconds[layer] += report.duration
    _counts[layer] += report.when == "call"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each layer: tests run, and seconds of all processes together."""
    for layer in sorted(_counts, key=_rank):
        terminalreporter.write_line(f"{layer:<14}{_counts[layer]:>6} tests {_seconds[layer]:>8.1f} s")
