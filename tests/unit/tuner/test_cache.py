"""The timing cache: what is kept, what is not, and how files merge."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from engineworks.tuner.cache import TimingCache


def _append_many(path: str, prefix: str) -> None:
    cache = TimingCache(Path(path))
    for number in range(200):
        cache.add(f"{prefix}{number}", number / 7, "note " * 20)


def test_a_second_cache_reads_what_the_first_wrote(tmp_path: Path) -> None:
    first = TimingCache(tmp_path / "t.jsonl")
    stored = first.add("a", 1.23456789e-5, "fast")
    first.add("b", "wrong result", "bad")
    again = TimingCache(tmp_path / "t.jsonl")
    assert (again.get("a"), again.get("b"), again.get("c")) == (stored, "wrong result", None)
    assert stored == 1.235e-5


def test_concatenated_files_are_a_cache(tmp_path: Path) -> None:
    for name in "ab":
        TimingCache(tmp_path / name).add(name, 0.5, "")
    (tmp_path / "both").write_bytes((tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes())
    both = TimingCache(tmp_path / "both")
    assert len(both) == 2 and both.get("a") == both.get("b") == 0.5


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    TimingCache(path).add("a", 0.5, "")
    path.write_text('{"key": "tor\n' + path.read_text() + '{"key": "b", "sec')
    cache = TimingCache(path)
    assert (len(cache), cache.damaged, cache.get("a")) == (1, 2, 0.5)


def test_a_line_after_a_torn_one_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"key": "b", "sec')
    TimingCache(path).add("a", 0.5, "")
    assert TimingCache(path).get("a") == 0.5


def test_rejections_of_other_code_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    TimingCache(path).add("a", "wrong result", "")
    entry = json.loads(path.read_text())
    path.write_text(json.dumps(entry | {"code": "another"}) + "\n")
    cache = TimingCache(path)
    assert cache.get("a") is None and cache.damaged == 0


def test_a_death_is_remembered_for_this_build_only(tmp_path: Path) -> None:
    cache = TimingCache(tmp_path / "t.jsonl")
    cache.add("a", "died", "", lasts=False)
    assert cache.get("a") == "died"
    assert TimingCache(tmp_path / "t.jsonl").get("a") is None


def test_two_processes_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(str(path), p)) for p in "xy"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    cache = TimingCache(path)
    assert len(cache) == 400 and cache.damaged == 0
    assert cache.get("y21") == pytest.approx(3.0)
