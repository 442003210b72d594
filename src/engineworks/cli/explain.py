"""engineworks explain: the build report, as tables or as one HTML page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engineworks.cli.console import duration, emit_json, say, size, table
from engineworks.errors import Error


def explain(
    engine: Path,
    /,
    *,
    tactics: Annotated[bool, Parameter(negative="")] = False,
    missed: Annotated[bool, Parameter(negative="")] = False,
    rewrites: Annotated[bool, Parameter(negative="")] = False,
    precision: Annotated[bool, Parameter(negative="")] = False,
    html: Path | None = None,
    plan: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Say what was fused, which kernels won, and what was not done and why.

    Args:
        engine: an engine file.
        tactics: list the kernels that lost, too.
        missed: list rewrites that nearly applied.
        rewrites: list every rewrite that applied.
        precision: list what each product computes in, and why; warnings of calibration.
        html: write one self-contained page there instead.
        plan: which one, of an engine with plans for several targets; `engineworks inspect` numbers them.
        json: print the report as JSON.
    """
    report = read_report(engine, plan)
    if json:
        emit_json(report)
    elif precision:
        _print_precision(report)
    elif html is not None:
        from engineworks.cli.page import page

        html.write_text(page(report), encoding="utf-8")
        say(f"written to {html}")
    else:
        _print(report, tactics, missed, rewrites)


def read_report(engine: Path, plan: int = 0) -> dict[str, Any]:
    """The report section of an engine file, or of one of its plans.

    Raises:
        Error: the engine has none; no such plan.
    """
    import msgspec

    from engineworks.engine import container

    opened = container.read(engine)
    variants = opened.manifest.variants
    if not 0 <= plan < (len(variants) or 1):
        raise Error(f"{engine} has no plan {plan}: it has {len(variants) or 1}, from 0 on.")
    name = variants[plan].report if variants else "report"
    data = b""
    if name in opened.sections:
        opened.verify(name)
        data = bytes(opened.sections[name])
    if not data:
        raise Error(f"{engine} was written without a build report. Build it again.")
    return msgspec.json.decode(data)


def group_time(group: dict[str, Any]) -> str:
    """Measured, else predicted seconds."""
    if group.get("measured_s"):
        return duration(group["measured_s"])
    return f"~{duration(group['predicted_s'])}" if group.get("predicted_s") else ""


def losers(group: dict[str, Any]) -> list[dict[str, Any]]:
    """The tactics of a group that were not taken."""
    return [a for a in group.get("alternatives", []) if a["tactic"] != group.get("tactic")]


def _print(report: dict[str, Any], tactics: bool, missed: bool, rewrites: bool) -> None:
    groups = report["groups"]
    nodes = sum(len(g["ops"]) for g in groups)
    say(
        f"'{report['model']}' for {report['target']}, effort {report['effort']}: {nodes} nodes in {len(groups)} groups"
    )
    memory = report["memory"]
    say(f"  weights {size(memory['weights_bytes'])}; activations {size(memory['arena_bytes'])}, of which "
        f"{size(memory['lower_bound_bytes'])} cannot be avoided "
        f"({size(memory['without_reuse_bytes'])} without reuse)")  # fmt: skip
    rows = [
        (
            g["number"],
            ", ".join(g["origin"]),
            " + ".join(o.partition("(")[0] for o in g["ops"]),
            g.get("tactic", g["kind"]),
            group_time(g),
        )
        for g in groups
    ]
    table(["group", "source nodes", "operators", "tactic", "time"], rows, "groups", right=(4,))
    if tactics:
        rows = [
            (g["number"], a["tactic"], group_time(a), a.get("rejected", ""))
            for g in groups
            for a in losers(g)
        ]
        table(["group", "tactic", "time", "rejected because"], rows, "tactics that lost", right=(2,))
    if missed:
        rows = [(m["rule"], ", ".join(m["origin"]), m["why"]) for m in report["missed"]]
        table(["rule", "source nodes", "why not"], rows, "rewrites that nearly applied")
        rows = [(g["number"], ", ".join(g["origin"]), note) for g in groups for note in g.get("notes", [])]
        table(["group", "source nodes", "why fusion stopped"], rows, "where fusion stopped")
    if rewrites:
        for line in report["rewrites"]:
            say(line)


def _print_precision(report: dict[str, Any]) -> None:
    found = report.get("precisions", [])
    counts = Counter(p["precision"] for p in found)
    summary = ", ".join(f"{count} in {precision}" for precision, count in counts.most_common())
    say(
        f"'{report['model']}' for {report['target']}: {len(found)} products"
        + (f", {summary}" if found else "")
    )
    rows = [(", ".join(p["origin"]), p["op"], p["precision"], p["reason"]) for p in found]
    table(["source nodes", "operator", "precision", "because"], rows, "precision of products")
    for sentence in report.get("warnings", []):
        say(f"warning: {sentence}")
