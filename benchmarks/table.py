"""Measurements as text: one line each, and the table of the README."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

OURS = "engineworks"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
Record = dict[str, Any]  # a line of the results, as benchmarks.cpu.Record became JSON


def read(path: Path) -> list[Record]:
    """The records of a results file, oldest first."""
    return [json.loads(text) for text in path.read_text().splitlines() if text.strip()]


def line(record: Record) -> str:
    """'resnet50, 1 thread: engineworks 20.1 ms; onnxruntime 1.04x; openvino 1.10x'."""
    plural = "s" if record["threads"] != 1 else ""
    parts = [_cell(record, name) for name in record["results"]]
    return f"{record['model']} ({record['size']}), {record['threads']} thread{plural}: " + "; ".join(parts)


def _cell(record: Record, runtime: str) -> str:
    result = record["results"][runtime]
    if result["failure"]:
        return f"{runtime} FAILED: {result['failure']}"
    ours = record["results"].get(OURS, {}).get("median_s")
    if runtime == OURS or not ours:
        return f"{runtime} {result['median_s'] * 1e3:.3g} ms"
    return f"{runtime} {result['median_s'] / ours:.2f}x"


def newest(records: Iterable[Record]) -> dict[tuple[str, int], Record]:
    """The last record of each full network and number of threads on the machine measured last."""
    full = [r for r in records if r["size"] == "full" and OURS in r["results"]]
    last = [r for r in full if r["machine"]["cpu"] == full[-1]["machine"]["cpu"]]
    return {(r["model"], r["threads"]): r for r in last}


def markdown(records: Sequence[Record]) -> str:
    """The table: time of an inference, and how many times longer the peers take."""
    chosen = newest(records)
    if not chosen:
        raise ValueError(
            "no results of full networks with engineworks in them: run python -m benchmarks.cpu first"
        )
    peers = list(dict.fromkeys(name for r in chosen.values() for name in r["results"] if name != OURS))
    last = list(chosen.values())[-1]
    packages = last["machine"]["packages"]
    versions = ", ".join(f"{p} {packages[p]}" for p in peers if p in packages)
    rows = [
        f"| {model} | {threads} | {_ours(r)} | {' | '.join(_times(r, p) for p in peers)} |"
        for (model, threads), r in sorted(chosen.items(), key=lambda item: (item[0][1], _place(item[0][0])))
    ]
    return "\n".join(
        [
            f"| network | threads | engineworks | {' | '.join(f'{p} takes' for p in peers)} |",
            "| --- " * (3 + len(peers)) + "|",
            *rows,
            "",
            f"f32, batch 1, medians of interleaved rounds on {last['machine']['cpu']}, "
            f"{last['machine']['cores']} cores; {versions}. Above 1x Engineworks is faster. "
            "`python -m benchmarks.cpu` measures again.",
        ]
    )


def _place(model: str) -> int:
    from benchmarks import zoo

    return zoo.names().index(model)


def _ours(record: Record) -> str:
    result = record["results"][OURS]
    return "failed" if result["failure"] else f"{result['median_s'] * 1e3:.3g} ms"


def _times(record: Record, peer: str) -> str:
    result, ours = record["results"].get(peer), record["results"][OURS]
    if result is None or result["failure"] or ours["failure"]:
        return "–"
    return f"{result['median_s'] / ours['median_s']:.2f}x"


def write_readme(path: Path, records: Sequence[Record]) -> None:
    """Replace what lies between the two marks in the file.

    Raises:
        ValueError: a mark is missing.
    """
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path.name} has no place for the table: add the lines {BEGIN} and {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{markdown(records)}\n{END}{after}")
