"""The process that `benchmarks.gpu` starts: measures rows one after another, and says each as one JSON line.

python -m benchmarks.gpu_worker '{"rows": […], "runtimes": ["engineworks", "eager", "graph"]}'
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.gpu_networks import network
from benchmarks.gpu_runners import Row, Runner, error_of, expected, ours, peer
from benchmarks.gpu_timing import interleaved

OURS = "engineworks"


def measure(row: Row, runtimes: list[str]) -> dict[str, Any]:
    """Results by runtime: times, error and facts, or why there are none. What fails does not stop the others."""
    wanted = expected(network(row.name, row.batch, small=row.small))
    results: dict[str, Any] = {}
    ready: dict[str, Runner] = {}
    for name in runtimes:
        try:
            runner = ours(row) if name == OURS else peer(name, row)
            out = runner.call()
            torch.cuda.synchronize()
            results[name] = {"error": error_of(out, wanted), "facts": runner.facts, "failure": ""}
            if runner.layers:
                results[name]["layers"] = runner.layers
            ready[name] = runner
        except Exception as error:
            traceback.print_exc()
            results[name] = {"failure": f"{type(error).__name__}: {str(error)[:1000]}"}
    with torch.no_grad():
        timings = interleaved({name: runner.call for name, runner in ready.items()})
    for name, timing in timings.items():
        results[name] |= {
            "median_s": timing.median_s, "min_s": min(timing.alone_s), "steady_s": sorted(timing.steady_s)[
                len(timing.steady_s) // 2], "spread": timing.spread,
        }  # fmt: skip
    return results


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints goes to stderr, not among the results
    asked = json.loads(sys.argv[1])
    torch.set_grad_enabled(False)
    for given in asked["rows"]:
        row = Row(**given)
        results = measure(row, asked["runtimes"])
        replies.write(json.dumps({"row": asdict(row), "results": results}) + "\n")
        replies.flush()
        torch._dynamo.reset()
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
