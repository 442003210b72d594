"""The table of results on GPUs, and what becomes of workers that hang or die."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import gpu, gpu_table
from benchmarks.gpu_runners import Row


def _record(network: str, ours: float | None, **peers: float | None) -> dict[str, object]:
    results = {
        name: {"median_s": t, "steady_s": t, "failure": "" if t else "broken", "error": 1e-3, "facts": {}}
        for name, t in {"engineworks": ours, **peers}.items()
    }
    return {"network": network, "batch": 1, "typing": "strong", "small": False, "results": results}


def test_the_best_peer_counts() -> None:
    text = gpu_table.table([_record("bert", 1e-4, eager=4e-4, graph=2e-4), _record("vit", 1e-4, eager=8e-4)])
    assert "geometric mean 4.00, least 2.00, over 2 rows" in text
    assert "250 us" in text


def test_a_failure_is_listed_and_does_not_count() -> None:
    text = gpu_table.table([_record("bert", None, eager=4e-4), _record("vit", 1e-4, eager=None)])
    assert "geometric mean" not in text
    assert "bert:1 engineworks: broken" in text


def test_later_lines_add_to_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "gpu.jsonl"
    gpu_table.write(path, "", [_record("bert", 1e-4, eager=4e-4)])
    gpu_table.write(path, path.read_text(), [_record("bert", 5e-5, graph=2e-4)])
    (record,) = gpu_table.read(path)
    assert {n: r["median_s"] for n, r in record["results"].items()} == {
        "engineworks": 5e-5, "eager": 4e-4, "graph": 2e-4,
    }  # fmt: skip


def _fake_worker(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Workers run this text; it finds its rows in `rows`."""
    started = "import json, sys; rows = json.loads(sys.argv[-1])['rows']\n"
    real = gpu.subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", started + script, command[-1]], **options)

    monkeypatch.setattr(gpu.subprocess, "Popen", popen)


SAYS = "print(json.dumps({'results': {'eager': {'failure': '', 'name': r['name']}}}), flush=True)"


def test_rows_behind_one_that_kills_its_worker_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_worker(monkeypatch, f"for r in rows:\n  if r['name'] == 'b': sys.exit(3)\n  {SAYS}")
    rows = [Row(name, 1) for name in "abc"]
    found = dict(gpu.measured(rows, ["eager"], 30, time.monotonic() + 60))
    assert [r["eager"]["failure"] for r in found.values()] == ["", "its process ended with 3", ""]


def test_a_row_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_worker(monkeypatch, f"import time\nfor r in rows:\n  if r['name'] == 'a': time.sleep(60)\n  {SAYS}")
    rows = [Row(name, 1) for name in "ab"]
    found = dict(gpu.measured(rows, ["eager"], 2, time.monotonic() + 60))
    assert [r["eager"]["failure"] for r in found.values()] == ["not finished in 2 s", ""]


def test_no_row_is_begun_without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_worker(monkeypatch, f"for r in rows: {SAYS}")
    found = list(gpu.measured([Row("a", 1)], ["eager"], 30, time.monotonic() - 1))
    assert found[0][1] == {"eager": {"failure": "no time left"}}
    assert json.dumps(found[0][1])
