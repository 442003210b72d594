"""Measures Engineworks against its peers on this CPU.

    python -m benchmarks.cpu --models resnet50,bert_base --threads 1,2 --peers onnxruntime,openvino
    python -m benchmarks.cpu --precision bf16,int8 --peers onnxruntime,openvino,torch
    python -m benchmarks.cpu --readme            # only writes the table from the results so far

Each network is measured in a process of its own, all runtimes in turns within it. Every result is compared
with ONNX Runtime's before it counts. Results are appended to benchmarks/results as JSON lines.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks import machine, peers, table, zoo
from benchmarks.timing import interleaved

RESULTS = Path(__file__).parent / "results" / "cpu.jsonl"
OURS = "engineworks"
ALLOWED_ERROR: Mapping[peers.Precision, float] = MappingProxyType({"fp32": 1e-3, "bf16": 0.5, "int8": 0.5})
"""In f32 of the largest value of an output: reassociated sums of the deepest network stay ten times below. In bf16 and
int8 of the norm of an output: every layer of every runtime rounds differently, and with random weights and saturated
outputs single values tell nothing (ONNX Runtime with and without its optimisations differs by 0.91 in one pixel of
ppocr_det). This finds what is broken; what a precision costs is told by tests/models."""


@dataclass(frozen=True, slots=True)
class Task:
    """One network on some threads, for some runtimes."""

    model: str
    threads: int
    runtimes: tuple[str, ...]
    size: zoo.Size = "full"
    effort: int = 3
    rounds: int = 10
    precision: peers.Precision = "fp32"


@dataclass(slots=True)
class Result:
    """What one runtime did: seconds per call, or why there are none.

    Attributes:
        error: difference to ONNX Runtime on the same file: `largest_error` in f32, `error_of_norms` below; None where
            nothing lines up.
        setup_s: loading or compiling, the engine's build included.
    """

    median_s: float | None = None
    minimum_s: float | None = None
    error: float | None = None
    setup_s: float = 0.0
    failure: str = ""
    facts: dict[str, float] = field(default_factory=dict)
    """What only our own engine tells: peers.Runner.facts."""


@dataclass(slots=True)
class Record:
    """One line of the results."""

    model: str
    threads: int
    size: str
    effort: int
    rounds: int
    when: str
    commit: str
    machine: dict[str, object]
    fma_gflops: float
    precision: peers.Precision = "fp32"
    results: dict[str, Result] = field(default_factory=dict)


def measure(task: Task) -> Record:
    """Set up, check and time all runtimes of a task, in this process."""
    model = zoo.get(task.model, task.size)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    peak = round(machine.peak_gflops(seconds=0.2), 1)
    record = Record(
        task.model,
        task.threads,
        task.size,
        task.effort,
        task.rounds,
        now,
        machine.commit(),
        machine.fingerprint(),
        peak,
        task.precision,
    )
    expected: dict[Path, peers.Outputs] = {}
    calls: dict[str, Callable[[], object]] = {}
    for runtime in task.runtimes:
        record.results[runtime] = result = Result()
        call = _ready(runtime, model, task, result, expected)
        if call is not None:
            calls[runtime] = call
    for runtime, timing in interleaved(calls, task.rounds).items():
        record.results[runtime].median_s = timing.median_s
        record.results[runtime].minimum_s = timing.minimum_s
    return record


def _ready(
    runtime: str, model: zoo.ZooModel, task: Task, result: Result, expected: dict[Path, peers.Outputs]
) -> Callable[[], object] | None:
    """A checked call of the runtime; None, with the reason in the result, when it cannot or is wrong."""
    start = time.perf_counter()
    try:
        if runtime == OURS:
            runner = peers.engineworks(model, task.threads, task.effort, precision=task.precision)
        else:
            runner = peers.PEERS[runtime](model, task.threads, task.precision)
        runner.call()
        outputs = runner.outputs()
    except Exception as error:  # a runtime that cannot is a result, and must not end the comparison
        result.failure = f"{type(error).__name__}: {error}"
        return None
    result.setup_s = round(time.perf_counter() - start, 3)
    result.facts = dict(runner.facts)
    file = peers.file_for(runtime, model, task.precision)
    if file.path not in expected:
        reference = peers.onnxruntime(file, task.threads)
        reference.call()
        expected[file.path] = reference.outputs()
    wanted = _comparable(outputs, expected[file.path], task.precision)
    if not wanted:
        return runner.call
    result.error = (largest_error if task.precision == "fp32" else error_of_norms)(outputs, wanted)
    if not result.error <= ALLOWED_ERROR[task.precision]:
        result.failure = f"wrong: differs by {result.error:.1e}"
        return None
    return runner.call


def _comparable(made: peers.Outputs, wanted: peers.Outputs, precision: peers.Precision) -> peers.Outputs:
    """The outputs to compare: in narrow precisions the number of detections may differ, and then nothing lines up."""
    if precision == "fp32":
        return wanted
    return {name: value for name, value in wanted.items() if made[name].shape == value.shape}


def largest_error(outputs: peers.Outputs, expected: peers.Outputs) -> float:
    """The largest difference of an output as a fraction of its largest value; infinite if shapes differ."""
    worst = 0.0
    for name, wanted in expected.items():
        made = outputs[name]
        if made.shape != wanted.shape:
            return float("inf")
        if wanted.size:
            scale = max(float(np.abs(wanted).max()), 1e-30)
            error = float(np.abs(made.astype(np.float64) - wanted).max()) / scale
            worst = max(worst, error) if error == error else float("inf")
    return worst


def error_of_norms(outputs: peers.Outputs, expected: peers.Outputs) -> float:
    """The norm of an output's difference as a fraction of the output's norm, of the worst output."""
    worst = 0.0
    for name, wanted in expected.items():
        made = outputs[name].astype(np.float64)
        error = float(np.linalg.norm(made - wanted) / max(float(np.linalg.norm(wanted)), 1e-30))
        worst = max(worst, error) if error == error else float("inf")
    return worst


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__.split("\n", 1)[0])
    names = ",".join(zoo.names())
    parser.add_argument("--models", default=names, help=f"networks, of {names}")
    parser.add_argument("--threads", default="1", help="numbers of threads, such as 1,2")
    parser.add_argument(
        "--peers", default="onnxruntime,openvino", help=f"of {','.join(peers.PEERS)}; '' for none"
    )
    parser.add_argument("--precision", default="fp32", help="of fp32,bf16,int8")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of turns")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--effort", type=int, default=3, help="of our builds, 0 to 5")
    parser.add_argument("--peers-only", action="store_true", help="leave Engineworks out")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines to append to")
    parser.add_argument("--readme", action="store_true", help="only write README.md's table from the results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 when Engineworks failed or was wrong on a network."""
    given = _arguments(arguments)
    if given.readme:
        table.write_readme(zoo.ROOT / "README.md", table.read(given.results))
        return 0
    runtimes = (*(() if given.peers_only else (OURS,)), *filter(None, given.peers.split(",")))
    failed = False
    asked = product(given.precision.split(","), given.models.split(","), map(int, given.threads.split(",")))
    for precision, model, threads in asked:
        task = Task(model, threads, runtimes, given.size, given.effort, given.rounds, precision)
        # A process for each: thread pools and memory of one network do not disturb the next.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            record = asdict(pool.submit(measure, task).result())
        given.results.parent.mkdir(parents=True, exist_ok=True)
        with given.results.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(table.line(record), flush=True)
        failed |= bool(record["results"].get(OURS, {}).get("failure"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
