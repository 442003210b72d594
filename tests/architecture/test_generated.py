"""Files that tools write are current."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT


@pytest.mark.parametrize("tool", ["builder_stub.py", "public_names.py"])
def test_a_generated_file_is_current(tool: str) -> None:
    """A change of public names is a change of the API: it belongs in the changelog."""
    result = subprocess.run([sys.executable, f"tools/{tool}", "--check"], cwd=ROOT, check=False)
    assert result.returncode == 0, "run `make generated`"
