"""engineworks opt: the graph of a model in its textual form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from engineworks.cli.arrays import parse_shapes
from engineworks.cli.console import say


def opt(
    model: Path,
    /,
    *,
    phase: Literal["import", "canonical", "fuse"] = "canonical",
    shapes: Annotated[list[str] | None, Parameter(alias="-s", negative="", consume_multiple=True)] = None,
    journal: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Print the graph as it is after a phase.

    Args:
        model: an ONNX file.
        phase: the last phase to run: import, canonical (portable simplifications), fuse (fusions by rules).
        shapes: NAME=1x3x8 fixes dynamic axes.
        journal: print what was rewritten, too.
    """
    from engineworks.frontends.importer import import_model
    from engineworks.frontends.onnx.reader import read
    from engineworks.ir.passes import run_passes
    from engineworks.ir.rewriter import Rewriter
    from engineworks.ir.text import print_graph
    from engineworks.ir.verify import verify
    from engineworks.passes.common_values import CommonValues
    from engineworks.passes.fold_constants import FoldConstants
    from engineworks.rules.sets import canonical_rules, fusion_rules

    graph = import_model(read(model), input_shapes={n: s[0] for n, s in parse_shapes(shapes or []).items()})
    rewriter = Rewriter(graph)
    canonical = [FoldConstants(), CommonValues(), canonical_rules(), FoldConstants(), CommonValues()]
    passes = {"import": [], "canonical": canonical, "fuse": [*canonical, fusion_rules(), FoldConstants()]}[
        phase
    ]
    run_passes(rewriter, passes, check=verify)
    say(print_graph(graph))
    if journal:
        for entry in rewriter.journal:
            say(f"# {entry}")
