"""Importing Engineworks costs little more than numpy, so that loading an engine is quick."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "golden" / "engines" / "v1"
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


def test_running_an_engine_for_the_cpu_imports_no_compiler_and_no_cuda() -> None:
    program = (
        "import sys, engineworks; engine = engineworks.load(sys.argv[1] + '/sample.engine', threads=1);"
        "numpy = sys.modules['numpy']; engine(image=numpy.load(sys.argv[1] + '/sample.npz')['image']);"
        "heavy = {'llvmlite', 'triton', 'cuda', 'onnx', 'torch', 'cyclopts', 'rich', 'engineworks.ir',"
        " 'engineworks.builder', 'engineworks.runtime.cuda'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(SAMPLE)], check=True)
