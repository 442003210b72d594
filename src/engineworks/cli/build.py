"""engineworks build: model in, engine file out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engineworks.cli.console import duration, emit_json, progress, say, size
from engineworks.cli.flags import BuildFlags, config_of

if TYPE_CHECKING:
    from engineworks.engine.container import Container
    from engineworks.engine.schema import Manifest

Shapes = Annotated[list[str], Parameter(alias="-s", negative="", consume_multiple=True)]


def build(
    model: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    shapes: Shapes | None = None,
    flags: Annotated[BuildFlags, Parameter(name="*")] = BuildFlags(),  # noqa: B008  (frozen)
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Compile a model into an engine file.

    Args:
        model: an ONNX file.
        output: the engine file; by default the model's name with .engine.
        shapes: of inputs with dynamic axes: NAME=1x3x224x224, or NAME=MIN:OPT:MAX.
        json: print the result as JSON.
    """
    from engineworks.builder.build import build_engine
    from engineworks.cli.main import UsageError
    from engineworks.engine import container

    path = output or model.with_suffix(".engine")
    if not path.parent.is_dir():  # said before minutes are spent on kernels
        raise UsageError(f"there is no folder '{path.parent}' to write '{path.name}' into; make it first.")
    started = time.perf_counter()
    with progress("build") as report:
        emitted = build_engine(model, config_of(flags, shapes or [], name=flags.name or model.stem), report)
    written = container.write(path, emitted.manifest, emitted.sections)
    shown = {"file": str(path), "file_bytes": written, "build_s": time.perf_counter() - started}
    plans = plan_summaries(container.read(path)) if emitted.manifest.variants else []
    whole = summary(emitted.manifest, len(emitted.sections.get("weights", b"")))
    if json:
        emit_json(whole | shown | ({"plans": plans} if plans else {}))
        return
    targets = ", ".join(p["target"] for p in plans or [whole])
    say(f"{path}: {size(written)}, built in {duration(shown['build_s'])} for {targets}")
    for plan in plans or [whole]:
        prefix = f"{plan['target']}: " if plans else ""
        say(f"  {prefix}{plan['kernels']} kernels in {plan['launches']} launches, weights "
            f"{size(plan['weights_bytes'])}, activations {size(plan['arena_bytes'])}")  # fmt: skip
    if plans:
        say(f"  weights {size(whole['weights_bytes'])} in all: what plans share is there once")


def plan_summaries(file: Container) -> list[dict[str, Any]]:
    """The summary of each plan of a file for several targets; none for other files."""
    from engineworks.engine.variants import plan_manifest

    made = []
    for number in range(len(file.manifest.variants)):
        manifest = plan_manifest(file, number)
        made.append(summary(manifest, sum(s.size for s in manifest.sections if s.name == "weights")))
    return made


def summary(manifest: Manifest, weights_bytes: int) -> dict[str, Any]:
    """The sizes of an engine that people ask for first."""
    target = manifest.target
    return {
        "name": manifest.name,
        "target": f"{target.device}:{target.arch}",
        "inputs": {t.name: f"{t.dtype}[{', '.join(map(str, t.dims))}]" for t in manifest.inputs},
        "outputs": {t.name: f"{t.dtype}[{', '.join(map(str, t.dims))}]" for t in manifest.outputs},
        "kernels": len(manifest.kernels),
        "launches": sum(r.op == "call" for r in manifest.program),
        "weights_bytes": weights_bytes,
        "arena_bytes": manifest.arena_bytes,
    }
