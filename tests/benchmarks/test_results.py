"""Timing in turns, comparing results, and the table made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import table
from benchmarks.cpu import largest_error
from benchmarks.timing import interleaved


def _record(model: str, ours: float, peer: float | None, **changes: object) -> dict[str, object]:
    failed = {"median_s": None, "failure": "broken"}
    results = {
        "engineworks": {"median_s": ours, "failure": ""},
        "peer": failed if peer is None else {"median_s": peer, "failure": ""},
    }
    machine = {"cpu": "A", "cores": 2, "packages": {"peer": "1.0"}}
    return {"model": model, "threads": 1, "size": "full", "machine": machine, "results": results} | changes


def test_every_call_takes_its_turn_in_every_round() -> None:
    made: list[str] = []
    times = interleaved({"a": lambda: made.append("a"), "b": lambda: made.append("b")}, rounds=3, slice_s=0)
    assert [len(t.samples_s) for t in times.values()] == [3, 3]
    assert "".join(made[4:]) == "aabbbbaaaabb"
    assert times["a"].minimum_s <= times["a"].median_s


def test_error_is_a_fraction_of_the_largest_value() -> None:
    expected = {"y": np.array([0.0, 4.0], np.float32)}
    assert largest_error({"y": np.array([0.0, 4.0], np.float32)}, expected) == 0
    assert largest_error({"y": np.array([0.5, 4.0], np.float32)}, expected) == pytest.approx(0.125)
    assert largest_error({"y": np.array([0.0, np.nan], np.float32)}, expected) == float("inf")
    assert largest_error({"y": np.zeros(3, np.float32)}, expected) == float("inf")


def test_line_gives_ratios_to_ours() -> None:
    assert (
        table.line(_record("net", 0.002, 0.003)) == "net (full, fp32), 1 thread: engineworks 2 ms; peer 1.50x"
    )
    assert table.line(_record("net", 0.002, None)).endswith("peer FAILED: broken")


def test_readme_takes_the_newest_results_of_one_machine(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    other = {"cpu": "B", "cores": 2, "packages": {}}
    records = [
        _record("unet", 0.001, 0.002, machine=other),
        _record("resnet50", 0.009, 0.009),
        _record("resnet50", 0.002, 0.003),
        _record("unet", 0.004, None),
    ]
    table.write_readme(readme, records)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| resnet50 | 1 | 2 ms | 1.50x | – | – | – |\n| unet | 1 | 4 ms | – | – | – | – |" in text
    assert "1 thread: 1.50x (least 1.50x)" in text
    assert "peer 1.0" in text


def test_table_gives_the_share_of_the_peak_and_the_times_of_build_and_load() -> None:
    record = _record("unet", 0.5, 1.0, fma_gflops=100.0)
    record["results"]["engineworks"]["facts"] = {"flops": 2e10, "build_s": 12.3, "load_s": 0.0015}  # type: ignore[index]
    assert "| 40 % | 12 s | 1.5 ms |" in table.markdown([record])


def test_readme_without_a_place_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="add the lines"):
        table.write_readme(readme, [_record("unet", 1.0, 1.0)])
