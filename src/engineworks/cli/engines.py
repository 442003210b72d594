"""Open what a command was given: an engine file, or a model that is built on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineworks.cli.console import note, progress

if TYPE_CHECKING:
    from engineworks.runtime.engine import Engine


def open_engine(path: Path, shapes: Sequence[str] = (), threads: int | None = None, **options: Any) -> Engine:
    """The engine in a file; an .onnx file is built first, at effort 0 unless `options` say otherwise.

    Raises:
        EngineError, BuildError: as load and build do.
    """
    from engineworks.api import build, load
    from engineworks.cli.arrays import parse_shapes

    if path.suffix != ".onnx":
        return load(path, threads=threads)
    asked = parse_shapes(shapes)
    settings: dict[str, Any] = {"effort": 0} | options
    note(f"building {path} (for a lasting engine: engineworks build {path})")
    with progress("build") as report:
        return build(
            path,
            progress=report,
            threads=threads,
            profile={n: s for n, s in asked.items() if len(s) == 3} or None,
            fixed_shapes={n: s[0] for n, s in asked.items() if len(s) == 1},
            **settings,
        )
