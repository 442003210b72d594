"""engineworks tune: measure kernels ahead of builds."""

from __future__ import annotations

import json as json_text
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engineworks.cli.console import duration, emit_json, nodes, progress, say, table
from engineworks.cli.flags import BuildFlags, config_of


def tune(
    model: Path,
    /,
    *,
    shapes: Annotated[list[str] | None, Parameter(alias="-s", negative="", consume_multiple=True)] = None,
    flags: Annotated[BuildFlags, Parameter(name="*")] = BuildFlags(effort=4),  # noqa: B008  (frozen)
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Time the kernels that a model can use, and keep the times for later builds.

    Args:
        model: an ONNX file.
        shapes: of inputs with dynamic axes: NAME=1x3x224x224, or NAME=MIN:OPT:MAX.
        json: print the result as JSON.
    """
    from engineworks.builder.build import build_engine

    started = time.perf_counter()
    with progress("tune") as report:
        emitted = build_engine(model, config_of(flags, shapes or []), report)
    reports = [
        json_text.loads(s) for name, s in emitted.sections.items() if name.partition(".")[0] == "report"
    ]
    groups = [g for report in reports for g in report["groups"] if g.get("tactic")]
    if json:
        emit_json({"seconds": time.perf_counter() - started, "groups": groups})
        return
    rows = [(nodes(g["origin"]), g["tactic"], _time(g), len(g.get("alternatives", []))) for g in groups]
    table(["source nodes", "fastest tactic", "time", "tried"], rows, right=(2, 3))
    say(
        f"{len(groups)} kernels in {duration(time.perf_counter() - started)}; the times are kept for later builds"
    )


def _time(group: dict[str, float]) -> str:
    measured = group.get("measured_s")
    return duration(measured) if measured else f"{duration(group.get('predicted_s', 0.0))} (predicted)"
