"""ONNX's node cases: what fails is listed with its reason in expected/, and a case that passes must not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineworks.testing.onnx_backend import RUNNERS, node_cases, run_node_case


def _expected(executor: str) -> dict[str, str]:
    lines = (Path(__file__).parent / "expected" / f"{executor}.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


EXPECTED = {executor: _expected(executor) for executor in RUNNERS}


@pytest.mark.parametrize("executor", RUNNERS)
@pytest.mark.parametrize("name", sorted(node_cases()))
@pytest.mark.filterwarnings("ignore")
def test_node_case(name: str, executor: str) -> None:
    reason = run_node_case(node_cases()[name], RUNNERS[executor])
    if name in EXPECTED[executor]:
        assert reason, f"{name} passes now; take it out of tests/conformance/expected/{executor}.txt"
    else:
        assert not reason
