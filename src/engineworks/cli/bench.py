"""engineworks bench: latency percentiles, throughput, and where the time goes."""

from __future__ import annotations

import json as json_text
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter

from engineworks.cli.arrays import given_arrays
from engineworks.cli.console import duration, emit_json, nodes, progress, say, table
from engineworks.cli.engines import open_engine
from engineworks.errors import MissingExtra

if TYPE_CHECKING:
    from engineworks.runtime.context import Context
    from engineworks.runtime.engine import Engine

PERCENTILES = (50, 90, 99)
PROFILED = 20
"""Inferences that launches are timed over."""


def bench(
    engine: Path,
    /,
    *,
    seconds: float = 3.0,
    warmup: float = 0.5,
    threads: int | None = None,
    shapes: Annotated[list[str] | None, Parameter(alias="-s", negative="", consume_multiple=True)] = None,
    input: Annotated[list[str] | None, Parameter(alias="-i", negative="", consume_multiple=True)] = None,
    layers: Annotated[bool, Parameter(negative="")] = False,
    against: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Measure an engine.

    Args:
        engine: an engine file; a .onnx file is built on the spot.
        seconds: how long to measure.
        warmup: seconds before.
        threads: that share the work.
        shapes: NAME=1x3x8 for inputs with dynamic axes.
        input: NAME=FILE; inputs not given are random.
        layers: print the time of each launch; on a GPU also how much of it the chip's arithmetic or memory would take.
        against: the ONNX model, run by ONNX Runtime in turns with the engine.
        json: print the result as JSON.
    """
    opened = open_engine(engine, shapes or [], threads)
    arrays = given_arrays(opened.manifest, input or [], shapes or [], seed=0)
    context = opened.context()
    runs: dict[str, Callable[[], float]] = {"engineworks": _timed_run(opened, context, arrays)}
    if against is not None:
        runs["onnxruntime"] = _timed(_onnxruntime(against, arrays, opened.default_threads))
    times = _measure(runs, seconds, warmup)
    result: dict[str, Any] = {name: _statistics(t) for name, t in times.items()}
    if against is not None:
        result["speedup"] = float(np.median(times["onnxruntime"]) / np.median(times["engineworks"]))
    result["layers"] = _layers(opened, context, arrays) if layers else []
    if json:
        emit_json(result | {"threads": opened.default_threads})
    else:
        _print(result, list(times))


def _timed_run(opened: Engine, context: Context, arrays: Mapping[str, np.ndarray]) -> Callable[[], float]:
    """Seconds of one inference: of the caller, or on a GPU of its own clock, where inputs and outputs stay."""
    if opened.manifest.target.device == "cuda":
        from engineworks.cli.gpu import DeviceRun

        return DeviceRun(context, arrays)
    context.bind(**arrays)
    return _timed(context.execute)


def _timed(run: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        before = time.perf_counter()
        run()
        return time.perf_counter() - before

    return timed


def _layers(opened: Engine, context: Context, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Launches with their seconds; on a GPU groups of them, with the share of the roofline."""
    times = context.profile(PROFILED, **arrays)
    target = opened.manifest.target
    if target.device != "cuda":
        return [{"name": t.name, "tactic": t.tactic, "seconds": t.duration_s / PROFILED} for t in times]
    from engineworks.builder.layer_times import layer_times
    from engineworks.codegen.triton.gpu import gpu_of

    gpu = gpu_of(target.arch)
    report = json_text.loads(opened.report or b"{}")
    return [
        {
            "name": ", ".join(g.origin), "tactic": g.tactic, "seconds": g.seconds, "launches": g.launches,
            "flops": g.flops, "bytes": g.bytes_moved, "of_roofline": g.of_roofline(gpu),
        }
        for g in layer_times(report, [(t.group, t.tactic, t.duration_s / PROFILED) for t in times])
    ]  # fmt: skip


def _measure(runs: dict[str, Callable[[], float]], seconds: float, warmup: float) -> dict[str, list[float]]:
    """Seconds of each call, the candidates in turns so that a slow moment of the machine hits all of them."""
    until = time.perf_counter() + warmup
    while time.perf_counter() < until:
        for run in runs.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    started = now = time.perf_counter()
    with progress("bench") as report:
        while now - started < seconds or not all(times.values()):
            for name, run in runs.items():
                times[name].append(run())
                now = time.perf_counter()
            report(min(int((now - started) * 10), int(seconds * 10)), int(seconds * 10) or 1, "measuring")
    return times


def _statistics(times: list[float]) -> dict[str, float]:
    array = np.array(times)
    values = {f"p{p}_s": float(np.percentile(array, p)) for p in PERCENTILES}
    return {
        "runs": len(times),
        "mean_s": float(array.mean()),
        "min_s": float(array.min()),
        **values,
        "per_second": 1 / float(array.mean()),
    }


def _onnxruntime(model: Path, arrays: dict[str, np.ndarray], threads: int) -> Callable[[], Any]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("--against runs ONNX Runtime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, arrays)


def _print(result: dict[str, Any], names: list[str]) -> None:
    columns = ["", "p50", "p90", "p99", "min", "mean", "per second", "runs"]
    rows = []
    for name in names:
        s = result[name]
        shown = [duration(s[k]) for k in ("p50_s", "p90_s", "p99_s", "min_s", "mean_s")]
        rows.append([name, *shown, f"{s['per_second']:.4g}", s["runs"]])
    table(columns, rows, right=range(1, 8))
    if "speedup" in result:
        say(
            f"engineworks takes {1 / result['speedup']:.2f} of ONNX Runtime's time "
            f"({result['speedup']:.2f} times as fast)"
        )
    if result["layers"]:
        total = sum(r["seconds"] for r in result["layers"]) or 1.0
        ordered = sorted(result["layers"], key=lambda r: -r["seconds"])
        rows = [
            [nodes(r["name"].split(", ")), r["tactic"], duration(r["seconds"]), f"{r['seconds'] / total:.1%}"]
            + ([f"{r['of_roofline']:.0%}"] if "of_roofline" in r else [])
            for r in ordered
        ]
        last = ["of roofline"] if len(rows[0]) > 4 else []
        table(["launch", "tactic", "time", "share", *last], rows, right=(2, 3, 4))
