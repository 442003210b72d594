"""Measures Engineworks against torch on this machine's NVIDIA GPU, in f16.

    python -m benchmarks.gpu --networks bert:1,bert:32,vit:1 --peers eager,graph,compile --effort 3
    python -m benchmarks.gpu --networks bert:1 --peers "" --layers      # ours alone, kernel by kernel
    python -m benchmarks.gpu --dry-run                                  # builds for sm_90 without a GPU, runs nothing
    python -m benchmarks.gpu --table benchmarks/results/gpu.jsonl       # only prints the table

Every runtime's output is compared with the same module in f64. Engineworks, eager torch and its CUDA graph are timed in
turns in one process; each mode of torch.compile has a process of its own, and a time limit. Times are medians of single
calls between CUDA events with a flushed level-2 cache; 'steady' is the mean of calls in a row.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import gpu_table, machine
from benchmarks.gpu_runners import PEERS, TYPINGS, Row, engine_bytes
from benchmarks.gpu_worker import OURS

RESULTS = Path(__file__).parent / "results" / "gpu.jsonl"
ROWS = "bert:1,bert:32,vit:1,vit:32,resnet50:1,resnet50:32,gpt2:1,unet:1"
ALONE = ("compile", "max-autotune")
"""Peers that compile for minutes: in processes of their own."""


def main() -> None:
    given = _parsed()
    if given.table:
        print(gpu_table.table(gpu_table.read(Path(given.table))))
        return
    rows = [_row(text, given) for text in given.networks.split(",")]
    if given.dry_run:
        dry_run(rows)
        return
    deadline = time.monotonic() + given.budget_s
    peers = [p for p in given.peers.split(",") if p]
    together = ([] if given.no_ours else [OURS]) + [p for p in peers if p not in ALONE]
    out = Path(given.out)
    earlier = out.read_text() if out.exists() else ""
    records: dict[str, dict[str, Any]] = {}
    for runtimes in ([together] if together else []) + [[p] for p in peers if p in ALONE]:
        limit_s = given.limit_s if runtimes[0] in ALONE else given.budget_s
        for row, results in measured(rows, runtimes, limit_s, deadline):
            record = records.setdefault(row.label, _record(row))
            record["results"] |= results
            gpu_table.write(out, earlier, records.values())  # what was measured is kept, whatever comes
            print(gpu_table.line(record), gpu_table.layers(results), sep="\n", flush=True)
    print(gpu_table.table(list(records.values())))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=ROWS, help=f"name:batch, …; default {ROWS}")
    parser.add_argument("--peers", default="eager,graph,compile", help=f"of {', '.join(PEERS)}; '' for none")
    parser.add_argument("--no-ours", action="store_true", help="peers alone")
    parser.add_argument("--typing", choices=TYPINGS, default="strong", help="what the engine is built from")
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--layers", action="store_true", help="time each kernel")
    parser.add_argument("--timing-cache", default="", help="file with earlier measurements, extended")
    parser.add_argument("--budget-s", type=float, default=3600.0, help="no row is begun after so long")
    parser.add_argument(
        "--limit-s", type=float, default=240.0, help="of one network in one mode of torch.compile"
    )
    parser.add_argument("--small", action="store_true", help="narrow networks, to try the benchmark")
    parser.add_argument("--out", default=os.fspath(RESULTS), help="JSON lines, appended to")
    parser.add_argument("--table", default="", help="print the table of such a file")
    parser.add_argument("--dry-run", action="store_true", help="build for sm_90 at effort 0, run nothing")
    return parser.parse_args()


def _row(text: str, given: argparse.Namespace) -> Row:
    name, _, batch = text.partition(":")
    target = "cuda:sm_90" if given.dry_run else "cuda"
    return Row(name, int(batch or 1), given.typing, 0 if given.dry_run else given.effort, given.small, given.layers,
               target, given.timing_cache)  # fmt: skip


def dry_run(rows: Sequence[Row]) -> None:
    """Build each row's engine and say what is in it."""
    from engineworks.engine import container

    for row in rows:
        file, seconds, _ = engine_bytes(row)
        manifest = container.read(file).manifest
        calls = sum(r.op == "call" for r in manifest.program)
        print(f"{row.label:12} {calls:4} launches of {len(manifest.kernels):4} kernels, {len(file) / 1e6:7.1f} MB, "
              f"built in {seconds:.1f} s", flush=True)  # fmt: skip


def measured(
    rows: Sequence[Row], runtimes: Sequence[str], limit_s: float, deadline: float
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Results of each row, from worker processes; a row that takes longer than `limit_s` or kills its process fails,
    and the next ones go on in another process.
    """
    left = list(rows)
    worker = None
    while left:
        seconds = min(limit_s, deadline - time.monotonic())
        if seconds <= 0:
            for row in left:
                yield row, {name: {"failure": "no time left"} for name in runtimes}
            break
        worker = worker or _Worker(left, runtimes)
        reply = worker.reply(seconds)
        row = left.pop(0)
        if isinstance(reply, str):
            worker.stop()
            worker = None
            yield row, {name: {"failure": reply} for name in runtimes}
        else:
            yield row, reply["results"]
    if worker is not None:
        worker.stop()


class _Worker:
    """One `benchmarks.gpu_worker`, which measures these rows in order."""

    def __init__(self, rows: Sequence[Row], runtimes: Sequence[str]) -> None:
        asked = json.dumps({"rows": [asdict(r) for r in rows], "runtimes": list(runtimes)})
        command = [sys.executable, "-m", "benchmarks.gpu_worker", asked]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
        self._data = b""

    def reply(self, seconds: float) -> dict[str, Any] | str:
        """The next row's results, or why there are none."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._data:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return f"not finished in {seconds:.0f} s"
            piece = self._process.stdout.read(1 << 16)
            if not piece:
                return f"its process ended with {self._process.wait()}"
            self._data += piece
        line, _, self._data = self._data.partition(b"\n")
        return json.loads(line)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _record(row: Row) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "network": row.name, "batch": row.batch, "typing": row.typing, "effort": row.effort, "small": row.small,
        "when": now, "commit": machine.commit(), "machine": gpu_machine(), "results": {},
    }  # fmt: skip


def gpu_machine() -> dict[str, object]:
    """What a figure was measured on."""
    from engineworks.tuner import nvml
    from engineworks.tuner.gpu_facts import facts_here

    clock = nvml.clock()
    packages = {
        name: machine.version_of(name) for name in ("torch", "triton", "transformers", "cuda-bindings")
    }
    return {
        "gpu": facts_here("") or {}, "packages": packages, "cores": len(os.sched_getaffinity(0)),
        "sm_mhz": clock.mhz if clock else None, "slowed_by": list(clock.slowed_by) if clock else [],
    }  # fmt: skip


if __name__ == "__main__":
    main()
