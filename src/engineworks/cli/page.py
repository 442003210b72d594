"""The build report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from engineworks.cli.console import duration, size

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #1d2733;
  margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } 
th, td { text-align: left; padding: .25rem .6rem; vertical-align: top; }
th { border-bottom: 2px solid #8895a7; } tr:nth-child(even) { background: #f3f6f9; }
code { font-size: 12px; overflow-wrap: anywhere; } .bar { background: #3b7dd8; height: .7rem; display: inline-block; }
.facts span { display: inline-block; margin-right: 2rem; } .facts b { display: block; font-size: 1.2rem; }
"""


def page(report: dict[str, Any]) -> str:
    """HTML text that needs no other file."""
    name = escape(report["model"])
    parts = [_facts(report), _groups(report), _tactics(report), _missed(report), _rewrites(report)]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f"<style>{STYLE}</style></head>\n"
        f"<body><h1>{name}</h1>\n{''.join(parts)}</body></html>\n"
    )


def _facts(report: dict[str, Any]) -> str:
    memory, groups = report["memory"], report["groups"]
    facts = {
        "target": report["target"],
        "effort": report["effort"],
        "nodes": sum(len(g["ops"]) for g in groups),
        "groups": len(groups),
        "weights": size(memory["weights_bytes"]),
        "activations": size(memory["arena_bytes"]),
        "lower bound": size(memory["lower_bound_bytes"]),
        "without reuse": size(memory["without_reuse_bytes"]),
    }
    shown = "".join(f"<span><b>{escape(str(v))}</b>{escape(k)}</span>" for k, v in facts.items())
    return f'<p class="facts">{shown}</p>\n'


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2>\n<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n"


def _seconds(group: dict[str, Any]) -> float:
    return float(group.get("measured_s") or group.get("predicted_s") or 0.0)


def _groups(report: dict[str, Any]) -> str:
    slowest = max([_seconds(g) for g in report["groups"]], default=0.0) or 1.0
    rows = []
    for g in report["groups"]:
        seconds = _seconds(g)
        bar = f'<span class="bar" style="width: {100 * seconds / slowest:.1f}px"></span>' if seconds else ""
        ops = "<br>".join(f"<code>{escape(o)}</code>" for o in g["ops"])
        notes = "<br>".join(escape(n) for n in (*g.get("notes", ()), *g.get("refused", ())))
        origin = "<br>".join(escape(o) for o in g["origin"])
        time = f"{duration(seconds)} {bar}" if seconds else ""
        rows.append(
            [str(g["number"]), origin, ops, f"<code>{escape(g.get('tactic', g['kind']))}</code>", time, notes]
        )
    return _table("Groups", ["", "source nodes", "operators", "tactic", "time", "notes"], rows)


def _tactics(report: dict[str, Any]) -> str:
    rows = [
        [
            str(g["number"]),
            f"<code>{escape(a['tactic'])}</code>",
            duration(_seconds(a)),
            escape(a.get("rejected", "")),
        ]
        for g in report["groups"]
        for a in g.get("alternatives", [])
        if a["tactic"] != g.get("tactic")
    ]
    return _table("Tactics that lost", ["group", "tactic", "time", "rejected because"], rows)


def _missed(report: dict[str, Any]) -> str:
    rows = [[escape(m["rule"]), escape(", ".join(m["origin"])), escape(m["why"])] for m in report["missed"]]
    return _table("Rewrites that nearly applied", ["rule", "source nodes", "why not"], rows)


def _rewrites(report: dict[str, Any]) -> str:
    return _table("Rewrites", [""], [[f"<code>{escape(line)}</code>"] for line in report["rewrites"]])
