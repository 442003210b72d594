"""engineworks run: arrays in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from engineworks.cli.arrays import given_arrays, save_arrays
from engineworks.cli.console import duration, emit_json, note, say, table
from engineworks.cli.engines import open_engine


def run(
    engine: Path,
    /,
    *,
    input: Annotated[list[str] | None, Parameter(alias="-i", negative="", consume_multiple=True)] = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    shapes: Annotated[list[str] | None, Parameter(alias="-s", negative="", consume_multiple=True)] = None,
    seed: int = 0,
    threads: int | None = None,
    profile: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Run an engine once.

    Args:
        engine: an engine file; a .onnx file is built on the spot.
        input: NAME=FILE (.npy, .npz or raw bytes) or NAME=NUMBER; inputs not given are random.
        output: .npz (or .npy for one output) that receives the outputs.
        shapes: NAME=1x3x8 for random inputs with dynamic axes.
        seed: of the random inputs.
        threads: that share the work.
        profile: print the time of each launch.
        json: print the result as JSON.
    """
    opened = open_engine(engine, shapes or [], threads)
    arrays = given_arrays(opened.manifest, input or [], shapes or [], seed)
    random = [
        n
        for n in arrays
        if not any(i.startswith(f"{n}=") for i in input or []) and not (input and len(arrays) == 1)
    ]
    if random:
        note(f"random values for {', '.join(random)}")
    context = opened.context()
    outputs = context.run(**arrays)
    times = context.profile(10, **arrays) if profile else []
    if output:
        save_arrays(output, outputs)
    rows = [_row(name, array) for name, array in outputs.items()]
    launches = [{"name": t.name, "tactic": t.tactic, "seconds": t.duration_s / 10} for t in times]
    if json:
        keys = ("name", "dtype", "shape", "min", "mean", "max")
        emit_json({"outputs": [dict(zip(keys, row, strict=True)) for row in rows], "launches": launches})
        return
    table(["output", "dtype", "shape", "min", "mean", "max"], rows)
    if launches:
        table(
            ["launch", "tactic", "time"],
            [(r["name"], r["tactic"], duration(float(r["seconds"]))) for r in launches],
        )
    if output:
        say(f"written to {output}")


def _row(name: str, array: np.ndarray) -> tuple[object, ...]:
    shape = "x".join(map(str, array.shape)) or "scalar"
    if not array.size or array.dtype.kind in "OUS":
        return name, array.dtype, shape, "", "", ""
    wide = array.astype(np.float64)
    return name, array.dtype, shape, f"{wide.min():.6g}", f"{wide.mean():.6g}", f"{wide.max():.6g}"
