"""engineworks inspect: what a file says about itself; nothing is executed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engineworks.cli.build import plan_summaries, summary
from engineworks.cli.console import emit_json, say, size, table
from engineworks.core.target import Target

if TYPE_CHECKING:
    from engineworks.engine.container import Container
    from engineworks.engine.schema import Manifest, Record, TargetRecord


def inspect(
    file: Path,
    /,
    *,
    verify: Annotated[bool, Parameter(negative="")] = False,
    kernels: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Show what is in an engine or a model.

    Args:
        file: an engine, or an ONNX file.
        verify: compare the checksums of all sections.
        kernels: list the launches and their kernels.
        json: print everything as JSON.
    """
    if file.suffix == ".onnx":
        _inspect_model(file, json)
        return
    from engineworks.engine import container

    opened = container.read(file)
    if verify:
        opened.verify()
    manifest = opened.manifest
    if json:
        import msgspec

        plans = {"plans": msgspec.to_builtins(_plans(opened))} if manifest.variants else {}
        emit_json(msgspec.to_builtins(manifest) | plans)
        return
    if manifest.variants:
        _say_plans(file, opened)
    else:
        _say_facts(file, manifest)
    _show_tables(manifest)
    if kernels:
        for plan in _plans(opened) or [manifest]:
            rows = [_launch(number, r, plan) for number, r in enumerate(plan.program) if r.op == "call"]
            title = f"{plan.target.device}:{plan.target.arch}" if manifest.variants else ""
            table(["record", "source nodes", "tactic", "tasks"], rows, title)
    if verify:
        say("all checksums are right")


def _say_facts(file: Path, manifest: Manifest) -> None:
    facts = summary(manifest, sum(s.size for s in manifest.sections if s.name == "weights"))
    features = ", ".join(manifest.target.features)
    say(f"{file}: engine '{manifest.name}', written by Engineworks {manifest.package}")
    say(f"  target   {facts['target']}" + (f" ({features})" if features else ""))
    say(f"  weights  {size(facts['weights_bytes'])}")
    bound = manifest.arena_lower_bound
    say(
        f"  memory   {size(manifest.arena_bytes)} of activations"
        + (f" (at least {size(bound)} is needed)" if bound else "")
    )
    say(f"  program  {facts['launches']} launches of {facts['kernels']} kernels")


def _plans(opened: Container) -> list[Manifest]:
    """Manifests of the plans for several targets."""
    from engineworks.engine.variants import plan_manifest

    return [plan_manifest(opened, number) for number in range(len(opened.manifest.variants))]


def _say_plans(file: Path, opened: Container) -> None:
    manifest = opened.manifest
    plans = plan_summaries(opened)
    weights = sum(s.size for s in manifest.sections if s.name == "weights")
    say(
        f"{file}: engine '{manifest.name}' for {len(plans)} targets, written by Engineworks {manifest.package}"
    )
    say(f"  weights  {size(weights)}, those of several plans once")
    rows = [
        (
            number, _bound(variant.target), p["kernels"], p["launches"], size(p["weights_bytes"]),
            size(p["arena_bytes"]), size(len(opened.sections[variant.code])),
        )
        for number, (variant, p) in enumerate(zip(manifest.variants, plans, strict=True))
    ]  # fmt: skip
    table(
        ["plan", "target", "kernels", "launches", "weights", "activations", "code"], rows, right=range(2, 7)
    )


def _bound(target: TargetRecord) -> str:
    """The target, the GPU that it is bound to, and who else may load it."""
    text = str(Target(target.device, target.arch, target.features))
    gpu = target.facts.get("gpu") if not target.compatible else ""
    return text + (f" ({gpu})" if gpu else "") + (f" ({target.compatible})" if target.compatible else "")


def _show_tables(manifest: Manifest) -> None:
    tensors = [("input", t) for t in manifest.inputs] + [("output", t) for t in manifest.outputs]
    table(
        ["", "name", "dtype", "shape"], [(k, t.name, t.dtype, "x".join(map(str, t.dims))) for k, t in tensors]
    )
    if manifest.symbols:
        rows = [
            (s.name, s.min, s.opt, s.max, "data" if s.is_data_dependent else "shape")
            for s in manifest.symbols
        ]
        table(["dim", "min", "opt", "max", "known from"], rows)
    table(
        ["section", "size", "sha256"],
        [(s.name, size(s.size), s.sha256[:16]) for s in manifest.sections],
        right=(1,),
    )


def _launch(number: int, record: Record, manifest: Manifest) -> tuple[Any, ...]:
    kernel = manifest.kernels[record.kernel]
    return number, record.name, kernel.tactic or kernel.symbol, record.tasks


def _inspect_model(file: Path, json: bool) -> None:
    from engineworks.frontends.onnx.reader import read

    foreign = read(file)
    counts = Counter(f"{n.domain}::{n.kind}" if n.domain else n.kind for n in foreign.nodes)
    inputs = {
        i.name: f"{i.dtype}[{', '.join('?' if d is None else str(d) for d in i.shape or ())}]"
        for i in foreign.inputs
    }
    if json:
        emit_json({
            "name": foreign.name, "opsets": dict(foreign.opsets), "inputs": inputs, "outputs": foreign.outputs,
            "operators": dict(counts), "weights": len(foreign.constants),
        })  # fmt: skip
        return
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in foreign.opsets.items())
    say(
        f"{file}: ONNX model '{foreign.name}', opsets {opsets}, "
        f"{len(foreign.nodes)} nodes, {len(foreign.constants)} weights"
    )
    table(
        ["", "name", "type"],
        [("input", n, t) for n, t in inputs.items()] + [("output", n, "") for n in foreign.outputs],
    )
    table(["operator", "count"], counts.most_common(), right=(1,))
