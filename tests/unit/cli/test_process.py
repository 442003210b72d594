"""The command as a process: signals, pipes, tracebacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUN = [sys.executable, "-c", "from engineworks.cli.main import run; run()"]


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen([*RUN, "ops"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    process.wait(60)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_debug_logging_shows_the_traceback() -> None:
    environment = os.environ | {"ENGINEWORKS_LOG": "debug"}
    done = subprocess.run(
        [*RUN, "inspect", "missing.engine"],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("seconds", ["30"])
def test_ctrl_c_ends_at_once_and_leaves_nothing(engine: Path, tmp_path: Path, seconds: str) -> None:
    process = subprocess.Popen(
        [*RUN, "bench", str(engine), "--seconds", seconds],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    assert "bench:" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []
