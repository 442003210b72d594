"""Calls of CUDA's driver through its bindings, on a stand-in for the driver that computes on the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="the driver's header comes with triton")
pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
HERE = Path(__file__).parent / "stand_in"
ROOT = Path(__file__).parents[4]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, list[str]]:
    """What the stand-in printed, by chapter."""
    folder = tmp_path_factory.mktemp("driver")
    headers = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-w",
        f"-I{headers}",
        str(HERE / "libcuda.c"),
        "-o",
        str(folder / "libcuda.so.1"),
    ]
    subprocess.run(command, check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(HERE / "calls.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    chapters: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("# "):
            chapters[line[2:]] = []
        elif chapters:
            chapters[list(chapters)[-1]].append(line)
    return chapters


def test_launches_are_captured_with_their_grids_and_overlap_but_the_first(said):
    overlapping = "launch sum blocks 3 threads 32 attribute 6=1"
    assert said["first run"] == ["launch add blocks 3 threads 32", overlapping, overlapping, "replay"]


def test_a_graph_is_replayed(said):
    assert said["same shape"] == ["replay"]


def test_nodes_that_hold_addresses_of_arrays_are_changed(said):
    assert said["other addresses"] == [
        "change add blocks 3 threads 32",
        "change sum blocks 3 threads 32",
        "replay",
    ]


def test_a_record_is_timed_by_graphs_of_it_alone(said):
    lines = said["profile"]
    assert lines.count("replay") == 9
    assert sum(line.startswith("launch add") for line in lines) == 11


def test_a_map_is_described_innermost_first(said):
    assert said["a map"] == ["map type 6 sizes 256 100 stride 600 box 64 64 steps 1 1 swizzle 3"]


def test_missing_memory_is_named(said):
    assert said["memory"] == [
        "no memory on Stand-in for activations: 137,438,953,472 bytes are needed, 123,456,789 of 137,438,953,472 "
        "are free."
    ]
