"""Measurements as text: one line each, and the table of the README."""

from __future__ import annotations

import json
import math
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
    """'resnet50 (full, bf16), 1 thread: engineworks 20.1 ms; onnxruntime 1.04x; openvino 1.10x'."""
    plural = "s" if record["threads"] != 1 else ""
    parts = [_cell(record, name) for name in record["results"]]
    kind = f"{record['size']}, {record.get('precision', 'fp32')}"
    return f"{record['model']} ({kind}), {record['threads']} thread{plural}: " + "; ".join(parts)


def _cell(record: Record, runtime: str) -> str:
    result = record["results"][runtime]
    if result["failure"]:
        return f"{runtime} FAILED: {result['failure']}"
    ours = record["results"].get(OURS, {}).get("median_s")
    if runtime == OURS or not ours:
        return f"{runtime} {result['median_s'] * 1e3:.3g} ms"
    return f"{runtime} {result['median_s'] / ours:.2f}x"


def newest(records: Iterable[Record], precision: str = "fp32") -> dict[tuple[str, int], Record]:
    """The last record of each full network and number of threads on the machine measured last."""
    full = [
        r
        for r in records
        if r["size"] == "full" and OURS in r["results"] and r.get("precision", "fp32") == precision
    ]
    if not full:
        return {}
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
        f"| {model} | {threads} | {_ours(r)} | {' | '.join(_times(r, p) for p in peers)} | {_facts(r)} |"
        for (model, threads), r in sorted(chosen.items(), key=lambda item: (item[0][1], _place(item[0][0])))
    ]
    return "\n".join(
        [
            f"| network | threads | engineworks | {' | '.join(f'{p} takes' for p in peers)} | of peak | build | load |",
            "| --- " * (6 + len(peers)) + "|",
            *rows,
            "",
            f"f32, batch 1, medians of interleaved rounds on {last['machine']['cpu']}, "
            f"{last['machine']['cores']} cores; {versions}. Above 1x Engineworks is faster. "
            "Of peak: operations of matrix products, convolutions and attention, counted directly, so that Winograd "
            "may pass 100 %; the peak is that of a loop of fused multiply-adds on one core, times the threads. "
            "Build: effort 3, without earlier measurements. `python -m benchmarks.cpu` measures again.",
            "",
            _summary(list(chosen.values()), peers),
            *(text for precision in ("bf16", "int8") for text in _narrow(records, chosen, precision)),
        ]
    )


NARROW = {
    "bf16": "bf16 allowed beside f32 (OpenVINO by its hint; torch.compile of the network in bf16).",
    "int8": "explicitly quantised networks, bf16 allowed for the rest (each runtime reads the form, s8 or u8, that it "
    "runs faster).",
}


def _narrow(records: Sequence[Record], full: dict[tuple[str, int], Record], precision: str) -> list[str]:
    """The table of a precision below f32; nothing where none was measured."""
    chosen = newest(records, precision)
    peers = list(dict.fromkeys(name for r in chosen.values() for name in r["results"] if name != OURS))
    peers = [
        p for p in peers if any(not r["results"][p]["failure"] for r in chosen.values() if p in r["results"])
    ]
    rows = [
        f"| {model} | {threads} | {_ours(r)} | {_gain(r, full.get((model, threads)))} | "
        f"{' | '.join(_times(r, p) for p in peers)} |"
        for (model, threads), r in sorted(chosen.items(), key=lambda item: (item[0][1], _place(item[0][0])))
    ]
    if not rows:
        return []
    return [
        "",
        f"{precision}: {NARROW[precision]} Our f32 is from its own run; "
        "a dash: the runtime cannot, or its result is wrong.",
        "",
        f"| network | threads | engineworks {precision} | our f32 takes | {' | '.join(f'{p} takes' for p in peers)} |",
        "| --- " * (4 + len(peers)) + "|",
        *rows,
        "",
        _summary(list(chosen.values()), peers),
    ]


def _gain(record: Record, wide: Record | None) -> str:
    """How many times longer our f32 engine takes, from another run on the same machine."""
    ours, theirs = (r["results"].get(OURS, {}).get("median_s") if r else None for r in (record, wide))
    return f"{theirs / ours:.2f}x" if ours and theirs else "–"


def _place(model: str) -> int:
    from benchmarks import zoo

    return zoo.names().index(model)


def _ours(record: Record) -> str:
    result = record["results"][OURS]
    return "failed" if result["failure"] else f"{result['median_s'] * 1e3:.3g} ms"


def _facts(record: Record) -> str:
    """Share of the peak, build and load time; a dash where the record does not say."""
    result = record["results"][OURS]
    facts = result.get("facts") or {}
    share = "–"
    if facts.get("flops") and result["median_s"]:
        peak = record["fma_gflops"] * 1e9 * record["threads"]
        percent = 100 * facts["flops"] / result["median_s"] / peak
        share = f"{percent:.0f} %" if percent >= 1 else share  # recurrent layers are not counted
    build = f"{facts['build_s']:.0f} s" if "build_s" in facts else "–"
    load = f"{facts['load_s'] * 1e3:.1f} ms" if "load_s" in facts else "–"
    return f"{share} | {build} | {load}"


def _summary(records: Sequence[Record], peers: Sequence[str]) -> str:
    """Geometric mean over networks of the best peer's time divided by ours, for each number of threads."""
    lines = []
    for threads in sorted({r["threads"] for r in records}):
        best = []
        for record in (r for r in records if r["threads"] == threads):
            times = [record["results"][p]["median_s"] for p in peers if p in record["results"]]
            ours = record["results"][OURS]["median_s"]
            known = [t for t in times if t]
            if ours and known:
                best.append(min(known) / ours)
        if best:
            mean = math.exp(sum(map(math.log, best)) / len(best))
            lines.append(
                f"{threads} thread{'s' if threads > 1 else ''}: {mean:.2f}x (least {min(best):.2f}x)"
            )
    return f"Best of the others against Engineworks, geometric mean over the networks: {'; '.join(lines)}."


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
