"""The two functions most programs need: build and load."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engineworks.runtime.engine import Engine

if TYPE_CHECKING:
    from engineworks.builder.build import Model


def build(
    model: Model,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    progress: Callable[[int, int, str], None] | None = None,
    **options: Any,
) -> Engine:
    """Compile a model for one piece of hardware.

    Args:
        model: path or bytes of an ONNX file, a torch.nn.Module, a torch.export.ExportedProgram or the path of its
            .pt2 file, or a Graph.
        args, kwargs: an example call of the module: tensors whose sizes hold unless something says otherwise. They lie
            where the module does.
        dynamic_shapes: which sizes of a module's inputs may change, as torch.export takes it. Without it, the axes
            whose smallest and largest size differ in `profile` may.
        progress: called with (done, total, what) while kernels are tuned.
        options: fields of BuildConfig: profile, effort, target, threads, … Without a target, a module whose parameters
            lie on a GPU is built for 'cuda', everything else for 'cpu'.
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
    from engineworks.frontends.torch_export.export import export_module
    from engineworks.frontends.torch_export.programs import is_module, lies_on_gpu

    if "target" not in options and lies_on_gpu(model):
        options["target"] = "cuda"
    config = BuildConfig(**options)
    if args is not None or kwargs is not None or is_module(model):
        model = export_module(model, args, kwargs, dynamic_shapes=dynamic_shapes, profile=config.profile)
    return Engine.open(build_bytes(model, config, progress), threads=config.threads)


def load(
    path: str | os.PathLike[str] | bytes,
    *,
    device: int | None = None,
    threads: int | None = None,
    verify: bool = False,
) -> Engine:
    """The engine in a file. Nothing is compiled; weights are mapped, not read.

    Loading runs the engine's native code later: trust an engine as you would a shared library.

    Args:
        path: of the file, or its bytes.
        device: which GPU, where the machine has several: its number among those that the process sees; None takes the
            one of the calling thread's current CUDA context, else the first.
        threads: that share the work of each call, 1 to 256; the physical cores by default.
        verify: compare all checksums first, which reads the whole file.
    Raises:
        EngineError: in its kinds: damaged, too new, built for other hardware.
        InvalidInput: `threads` out of range.
        OSError: the file cannot be opened.
    """
    return Engine.open(path, device=device, threads=threads, verify=verify)
