"""Files that tools write are current."""

from __future__ import annotations

import subprocess
import sys

from tests.architecture.sources import ROOT


def test_the_builder_stub_is_current() -> None:
    result = subprocess.run([sys.executable, "tools/builder_stub.py", "--check"], cwd=ROOT, check=False)
    assert result.returncode == 0, "run `make stub`"
