"""Builds beside each other, builds that are killed, and full disks: caches stay usable, files whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import engineworks
from engineworks.errors import BuildError, TuningError
from engineworks.testing.graphs import tuned_network
from engineworks.tuner.cache import TimingCache

BUILD = """
import sys
import engineworks
from engineworks.testing.graphs import tuned_network
engine = engineworks.build(tuned_network(), effort=2, threads=1)
engine.save(sys.argv[1])
"""


def _start(engine: Path, caches: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"ENGINEWORKS_CACHE_DIR": str(caches)}
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(engine)], env=environment, start_new_session=True
    )


def _cache(folder: Path) -> Path:
    return folder / "timings" / "cpu.jsonl"


def _works(path: Path) -> bool:
    outputs = engineworks.load(path, threads=1, verify=True)(x=np.ones((8, 33), np.float32))
    return bool(np.isfinite(outputs["y"]).all())


def test_builds_from_one_timing_cache_are_equal_to_the_byte(tmp_path: Path) -> None:
    cache = tmp_path / "timings.jsonl"
    first = engineworks.build(tuned_network(), effort=2, threads=1, timing_cache=cache).serialize()
    lines = cache.read_bytes()
    assert engineworks.build(tuned_network(), effort=2, threads=1, timing_cache=cache).serialize() == first
    assert cache.read_bytes() == lines and lines


def test_two_builds_at_once_share_a_cache(tmp_path: Path) -> None:
    builds = [_start(tmp_path / name, tmp_path / "caches") for name in ("a", "b")]
    assert [build.wait(timeout=120) for build in builds] == [0, 0]
    assert _works(tmp_path / "a") and _works(tmp_path / "b")
    cache = TimingCache(_cache(tmp_path / "caches"))
    assert len(cache) > 0 and cache.damaged == 0


def test_a_killed_build_leaves_no_engine_and_usable_caches(tmp_path: Path) -> None:
    build = _start(tmp_path / "engine", tmp_path / "caches")
    deadline = time.monotonic() + 60
    while not _cache(tmp_path / "caches").exists() and build.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(build.pid, signal.SIGKILL)
    assert build.wait() == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["caches"]
    assert _start(tmp_path / "engine", tmp_path / "caches").wait(timeout=120) == 0
    assert _works(tmp_path / "engine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["caches", "engine"]


def test_a_full_disk_keeps_the_earlier_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine"
    engine = engineworks.build(tuned_network(), effort=0, threads=1)
    engine.save(path)

    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        engine.save(path)
    assert _works(path) and [p.name for p in tmp_path.iterdir()] == ["engine"]


def test_a_timing_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TuningError, match=r"timing cache '.*' cannot be extended: "):
        engineworks.build(
            tuned_network(), effort=2, threads=1, timing_cache=tmp_path / "file" / "timings.jsonl"
        )


def test_an_object_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENGINEWORKS_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(
        BuildError, match=r"cache of compiled kernels '.*' cannot be written: Not a directory"
    ):
        engineworks.build(tuned_network(), effort=0, threads=1)
