"""The two functions most programs need: build and load."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engineworks.runtime.engine import Engine

if TYPE_CHECKING:
    from engineworks.builder.build import Model


def build(model: Model, *, progress: Callable[[int, int, str], None] | None = None, **options: Any) -> Engine:
    """Compile a model for one piece of hardware.

    Args:
        model: path or bytes of an ONNX file, or a Graph.
        progress: called with (done, total, what) while kernels are tuned.
        options: fields of BuildConfig: profile, effort, target, threads, …
    Returns:
        the engine, loaded; `engine.save(path)` writes it.
    Raises:
        BuildError: in its kinds (engineworks.errors): a model that cannot be read or is invalid, an operator or a
            combination of options that is not supported.
        EngineMismatch: the target asks for more than this machine has, so that the engine cannot be loaded here.
        TypeError: an option that BuildConfig does not have.
    """
    from engineworks.builder.build import build_bytes
    from engineworks.builder.config import BuildConfig

    config = BuildConfig(**options)
    return Engine.open(build_bytes(model, config, progress), threads=config.threads)


def load(path: str | os.PathLike[str] | bytes, *, threads: int | None = None, verify: bool = False) -> Engine:
    """The engine in a file. Nothing is compiled; weights are mapped, not read.

    Loading runs the engine's native code later: trust an engine as you would a shared library.

    Args:
        path: of the file, or its bytes.
        threads: that share the work of each call, 1 to 256; the physical cores by default.
        verify: compare all checksums first, which reads the whole file.
    Raises:
        EngineError: in its kinds: damaged, too new, built for other hardware.
        InvalidInput: `threads` out of range.
        OSError: the file cannot be opened.
    """
    return Engine.open(path, threads=threads, verify=verify)
