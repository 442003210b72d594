"""ONNX's node cases: what fails is listed with its reason in expected/, and a case that passes must not be.

For cuda, whose kernels run in Triton's interpreter here, every so many cases are run; all of them (poolings take minutes
each) by `python -m engineworks.testing.onnx_backend cuda > tests/conformance/expected/cuda.txt`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engineworks.testing.onnx_backend import RUNNERS, node_cases, run_node_case


def _expected(executor: str) -> dict[str, str]:
    lines = (Path(__file__).parent / "expected" / f"{executor}.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


INTERPRETED_EACH = 12
"""Of so many cases one is run as on a GPU."""
NAMES = sorted(node_cases())
CASES = [(name, executor) for executor in RUNNERS for name in NAMES if executor != "cuda"] + [
    (name, "cuda") for name in NAMES[::INTERPRETED_EACH]
]
EXPECTED = {executor: _expected(executor) for executor in RUNNERS}


@pytest.mark.parametrize(("name", "executor"), CASES)
@pytest.mark.filterwarnings("ignore")
def test_node_case(name: str, executor: str) -> None:
    reason = run_node_case(node_cases()[name], RUNNERS[executor])
    if name in EXPECTED[executor]:
        assert reason, f"{name} passes now; take it out of tests/conformance/expected/{executor}.txt"
    else:
        assert not reason
