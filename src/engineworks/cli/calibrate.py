"""engineworks calibrate: ranges for INT8 from example inputs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engineworks.cli.console import duration, emit_json, note, progress, say, table

if TYPE_CHECKING:
    from engineworks.calibration.calibrate import Calibration
    from engineworks.calibration.images import ImagePreparation

SHOWN_WARNINGS = 10


def calibrate(
    model: Path,
    /,
    *,
    data: str,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    method: Literal["entropy", "entropy_v1", "minmax", "percentile", "legacy"] = "entropy",
    percentile: float | None = None,
    keeps: float | None = None,
    quantile: float | None = None,
    cutoff: float | None = None,
    batch: int = 8,
    limit: int | None = None,
    max_clipped: float = 0.01,
    shapes: Annotated[list[str] | None, Parameter(alias="-s", negative="", consume_multiple=True)] = None,
    mean: str = "0",
    std: str = "1",
    size: str | None = None,
    fit: Literal["stretch", "crop"] = "stretch",
    layout: Literal["NCHW", "NHWC"] | None = None,
    colors: Literal["RGB", "BGR", "L"] | None = None,
    threads: int | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Run a model on example inputs, and write a calibration cache for INT8 builds in TensorRT's format.

    Args:
        model: an ONNX file.
        data: a folder of .npy, .npz or image files; an .npz with an array for each input, samples along the first
            axis; or script.py:function, which gives batches.
        output: the cache; by default the model's name with .cache.
        method: how a range follows from what was seen.
        percentile: of the values that a range holds, for --method percentile; 99.99 unless given.
        keeps: share of the values, zeros left out, that a range holds at least, for the entropy methods; 0.999 unless
            given, 0 for the published definition alone.
        quantile: share of the values that a range holds, for --method legacy; 0.9999 unless given.
        cutoff: regression cutoff, for --method legacy; 1 (none) unless given.
        batch: samples that are run at once, where the model takes any number.
        limit: stop after this many samples.
        max_clipped: warn of tensors whose range clips more than this share of their values.
        shapes: of inputs with dynamic axes: NAME=1x3x224x224, or NAME=MIN:OPT:MAX.
        mean: of images, for each channel: 0.485,0.456,0.406; pixels are 0 to 1.
        std: of images, for each channel, as --mean.
        size: of images, HEIGHTxWIDTH; by default the model's.
        fit: stretch images to the size, or crop their middle.
        layout: of a model's image input; by default where its shape says.
        colors: order of an image's channels.
        threads: that share the work of a run.
        json: print the result as JSON.
    """
    from engineworks.calibration.methods import method_named
    from engineworks.cli.main import UsageError
    from engineworks.errors import CalibrationError

    path = output or model.with_suffix(".cache")
    if not path.parent.is_dir():  # said before the model is run
        raise UsageError(f"there is no folder '{path.parent}' to write '{path.name}' into; make it first.")
    if batch < 1 or (limit is not None and limit < 1):
        raise UsageError("--batch and --limit are at least 1")
    given = {"percentile": percentile, "keeps": keeps, "quantile": quantile, "cutoff": cutoff}
    try:
        chosen = method_named(method, **{name: value for name, value in given.items() if value is not None})
    except CalibrationError as error:
        raise UsageError(str(error)) from None
    images = _preparation(mean, std, size, fit, layout, colors)
    started = time.perf_counter()
    result = _calibrated(model, data, images, chosen, shapes or [], threads, batch, limit, max_clipped)
    result.ranges.write(path)
    _print(result, path, method, time.perf_counter() - started, json)


def _calibrated(
    model: Path,
    data: str,
    images: ImagePreparation,
    method: Any,
    shapes: Sequence[str],
    threads: int | None,
    batch: int,
    limit: int | None,
    max_clipped: float,
) -> Calibration:
    from engineworks.builder.build import canonical_passes, import_graph
    from engineworks.builder.calibrating import calibrate_graph
    from engineworks.builder.config import BuildConfig
    from engineworks.calibration.batches import needs_of
    from engineworks.calibration.sources import data_from
    from engineworks.cli.arrays import parse_shapes
    from engineworks.ir.passes import run_passes
    from engineworks.ir.rewriter import Rewriter

    asked = parse_shapes(shapes)
    config = BuildConfig(
        profile={name: s for name, s in asked.items() if len(s) == 3} or None,
        fixed_shapes={name: s[0] for name, s in asked.items() if len(s) == 1},
        threads=threads,
    )
    graph, config = import_graph(model, config)
    run_passes(Rewriter(graph), canonical_passes())
    items = data_from(data, needs_of(graph), batch=batch, limit=limit, images=images)
    with progress("calibrate") as report:
        return calibrate_graph(graph, items, config, method=method, max_clipped=max_clipped, progress=report)


def _preparation(
    mean: str, std: str, size: str | None, fit: Any, layout: Any, colors: Any
) -> ImagePreparation:
    from engineworks.calibration.images import ImagePreparation

    height_width = None if size is None else _numbers(size, "x", int, "--size 224x224")
    if height_width is not None and (len(height_width) != 2 or min(height_width) < 1):
        raise _malformed(size or "", "--size 224x224")
    return ImagePreparation(
        size=height_width,  # type: ignore[arg-type]  # two numbers
        fit=fit,
        mean=_numbers(mean, ",", float, "--mean 0.485,0.456,0.406"),
        std=_numbers(std, ",", float, "--std 0.229,0.224,0.225"),
        layout=layout,
        colors=colors,
    )


def _numbers(text: str, separator: str, kind: Any, form: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(separator))
    except ValueError:
        raise _malformed(text, form) from None


def _malformed(text: str, form: str) -> Exception:
    from engineworks.cli.main import UsageError

    return UsageError(f"'{text}' is malformed; write {form}")


def _print(result: Calibration, path: Path, method: str, seconds: float, json: bool) -> None:
    if json:
        tensors = {n: asdict(s) | {"scale": result.ranges[n]} for n, s in result.statistics.items()}
        emit_json({
            "file": str(path), "method": method, "samples": result.samples, "batches": result.batches,
            "seconds": seconds, "warnings": result.warnings, "tensors": tensors,
        })  # fmt: skip
        return
    for warning in result.warnings[:SHOWN_WARNINGS]:
        note(f"warning: {warning}")
    if len(result.warnings) > SHOWN_WARNINGS:
        note(f"warning: and {len(result.warnings) - SHOWN_WARNINGS} more (--json lists all)")
    rows = [
        (name, f"{s.low:.4g}", f"{s.high:.4g}", f"{s.range:.4g}", f"{s.clipped:.3%}")
        for name, s in result.statistics.items()
    ]
    table(["tensor", "lowest", "highest", "range ±", "clipped"], rows, right=(1, 2, 3, 4))
    say(f"{path}: {len(rows)} tensors by {method} from {result.samples} samples, in {duration(seconds)}")
