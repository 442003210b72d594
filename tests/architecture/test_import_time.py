"""Importing Engineworks costs little more than numpy, so that loading an engine is quick."""

from __future__ import annotations

import statistics
import subprocess
import sys

BUDGET_S = 0.050
ROUNDS = 7
MEASURE = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(program: str) -> float:
    return float(
        subprocess.run(
            [sys.executable, "-c", MEASURE.format(program)], capture_output=True, text=True, check=True
        ).stdout
    )


def test_importing_the_package_costs_at_most_50_ms_more_than_numpy() -> None:
    rounds = [(seconds("import numpy"), seconds("import numpy, engineworks")) for _ in range(ROUNDS)]
    numpy, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    assert ours < numpy + BUDGET_S


def test_loading_an_engine_imports_no_compiler() -> None:
    program = (
        "import sys, engineworks; engineworks.load;"
        "heavy = {'llvmlite', 'onnx', 'torch', 'cyclopts', 'rich', 'engineworks.ir', 'engineworks.builder'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
