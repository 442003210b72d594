"""Writes docs/developers/zoo-operators.md: which ONNX operators each network of the zoo uses.

python -m benchmarks.operators
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks import zoo

if TYPE_CHECKING:
    from onnx import GraphProto

PAGE = zoo.ROOT / "docs" / "developers" / "zoo-operators.md"
HEAD = """# Operators of the zoo

Written by `python -m benchmarks.operators`. Counts are of the full networks as exported; "dynamic" lists what
the network with symbolic sizes has beyond that. Nodes inside If and Loop bodies are counted too.
"""


def nodes_of(graph: GraphProto) -> Iterator[str]:
    """Operator of each node, with its domain unless ONNX's own; the bodies of control flow included."""
    for node in graph.node:
        yield f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from nodes_of(body)


def operators_of(name: str, dynamic: bool) -> tuple[int, Counter[str]]:
    """(opset, operator -> count) of a network."""
    import onnx

    model = onnx.load(os.fspath(zoo.get(name, dynamic=dynamic).path), load_external_data=False)
    return max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), Counter(
        nodes_of(model.graph)
    )


def page() -> str:
    """The page: a table by network, and one by operator."""
    rows, used = [], {}
    for name in zoo.names():
        opset, fixed = operators_of(name, dynamic=False)
        _, dynamic = operators_of(name, dynamic=True)
        for operator in fixed | dynamic:
            used.setdefault(operator, []).append(name)
        counts = ", ".join(f"{op} {n}" for op, n in fixed.most_common())
        more = ", ".join(sorted(dynamic.keys() - fixed.keys())) or "–"
        rows.append(f"| {name} | {opset} | {sum(fixed.values())} | {counts} | {more} |")
    table = ["| network | opset | nodes | operators | dynamic |", "| --- | --- | --- | --- | --- |", *rows]
    order = sorted(used, key=lambda op: (-len(used[op]), op))
    by_operator = [f"| {op} | {len(used[op])} | {', '.join(used[op])} |" for op in order]
    head = [f"## The {len(order)} operators", "", "| operator | networks | which |", "| --- | --- | --- |"]
    return "\n".join([HEAD, *table, "", *head, *by_operator, ""])


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
