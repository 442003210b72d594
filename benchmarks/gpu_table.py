"""Tables of results on GPUs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]
OURS = "engineworks"
GOALS_US = {
    ("bert", 1): 250, ("bert", 32): 1400, ("vit", 1): 260, ("vit", 32): 1900, ("resnet50", 1): 200,
    ("resnet50", 32): 750,
}  # fmt: skip
"""What was set out for before the first measurement, on an H200 in f16."""
SHOWN_LAYERS = 40


def write(path: Path, earlier: str, records: Iterable[Record]) -> None:
    """A file of JSON lines: what it held before, then these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(earlier + "".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def read(path: Path) -> list[Record]:
    """The newest record of each network, batch size and typing, with the results of older ones where it has none."""
    newest: dict[tuple[str, int, str], Record] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(text)
        key = record["network"], record["batch"], record["typing"]
        older = newest.get(key)
        if older is not None and older["small"] == record["small"]:
            record["results"] = older["results"] | {
                n: r for n, r in record["results"].items() if not r["failure"] or n not in older["results"]
            }
        newest[key] = record
    return list(newest.values())


def line(record: Record) -> str:
    """What is known of one network, in a line."""
    shown = ", ".join(f"{name} {_time(result)}" for name, result in record["results"].items())
    return f"{record['network']}:{record['batch']} ({record['typing']}): {shown}"


def table(records: Sequence[Record]) -> str:
    """All networks: time of one inference, and the geometric mean of the best peers' time over ours."""
    peers = list(dict.fromkeys(n for r in records for n in r["results"] if n != OURS))
    head = [
        "network",
        "engineworks",
        "steady",
        *peers,
        "best / ours",
        "goal",
        "error",
        "build",
        "again",
        "launches",
    ]
    rows = [_cells(r, peers) for r in records]
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = [" | ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in [head, *rows]]
    gains = [g for r in records if (g := _gain(r)) is not None]
    if gains:
        mean = math.exp(sum(map(math.log, gains)) / len(gains))
        lines.append(
            f"best peer / ours: geometric mean {mean:.2f}, least {min(gains):.2f}, over {len(gains)} rows"
        )
    failures = [
        f"{r['network']}:{r['batch']} {n}: {x['failure']}"
        for r in records
        for n, x in r["results"].items()
        if x["failure"]
    ]
    return "\n".join([*lines, *failures])


def _cells(record: Record, peers: Sequence[str]) -> list[str]:
    ours = record["results"].get(OURS, {"failure": "not measured"})
    facts = ours.get("facts", {})
    gain = _gain(record)
    goal = GOALS_US.get((record["network"], record["batch"]))
    return [
        f"{record['network']}:{record['batch']}", _time(ours), _micro(ours.get("steady_s")),
        *(_time(record["results"].get(p, {"failure": "-"})) for p in peers),
        f"{gain:.2f}" if gain else "-", f"{goal} us" if goal else "-",
        f"{ours['error']:.1e}" if "error" in ours else "-",
        *(f"{facts[k]:.0f} s" if k in facts else "-" for k in ("build_s", "rebuild_s")),
        f"{facts['launches']:.0f}" if "launches" in facts else "-",
    ]  # fmt: skip


def _gain(record: Record) -> float | None:
    ours = record["results"].get(OURS, {}).get("median_s")
    others = [r["median_s"] for n, r in record["results"].items() if n != OURS and r.get("median_s")]
    return min(others) / ours if ours and others else None


def _time(result: dict[str, Any]) -> str:
    return _micro(result.get("median_s")) if not result["failure"] else "failed"


def _micro(seconds: float | None) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds else "-"


def layers(results: dict[str, Any]) -> str:
    """The kernels of our engine among the results of a network, slowest first, alone on the GPU with warm caches."""
    rows = results.get(OURS, {}).get("layers")
    if not rows:
        return ""
    total = sum(r["seconds"] for r in rows)
    lines = [f"{len(rows)} groups, {total * 1e6:.0f} us one by one"]
    for r in rows[:SHOWN_LAYERS]:
        lines.append(
            f"{r['group']:>5} {r['seconds'] * 1e6:8.1f} us {r['seconds'] / total:6.1%} {r['launches']:2}x "
            f"{r['flops'] / 1e9:8.2f} GFLOP {r['bytes_moved'] / 1e6:8.2f} MB {r['of_roofline']:5.0%} "
            f"{'+'.join(r['ops'])[:50]:50} {', '.join(r['outputs'])[:40]:40} {r['tactic'][:110]}"
        )
    return "\n".join(lines)
