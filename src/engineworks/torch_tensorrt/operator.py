"""`torch.ops.engineworks.execute_engine`: the operator by which PyTorch programs run engines.

Modules that `compile` makes hold engine files as uint8 buffers and call it; TorchScript files name it, so it has to be
registered (by `import engineworks.torch_tensorrt`) before one is loaded.
"""

from __future__ import annotations

import threading
import weakref

import torch

from engineworks.errors import Error
from engineworks.torch_tensorrt.opened import OpenEngine
from engineworks.torch_tensorrt.signature import Signature

_LIBRARY = torch.library.Library("engineworks", "DEF")
_LIBRARY.define("execute_engine(Tensor[] inputs, Tensor engine, str signature) -> Tensor[]")

_opened: dict[int, OpenEngine] = {}
"""By id of the tensor that holds the file: it is the same Python object at every call, as long as it lives."""
_opening = threading.Lock()
_raised = threading.local()


def run_engine(inputs: list[torch.Tensor], engine: torch.Tensor, signature: str) -> list[torch.Tensor]:
    """The outputs of an engine, on its device; on a GPU they are work of torch's current stream.

    Args:
        inputs: in the engine's order, on its device; copied only where they are not contiguous.
        engine: [bytes] uint8, an engine file; opened at its first call.
        signature: the engine's inputs and outputs as text, which tracing reads; running does not.
    """
    try:
        opened = _opened.get(id(engine))
        if opened is None or opened.version != version_of(engine):
            opened = open_engine(engine)
        return opened.run(inputs)
    except Error as error:
        _raised.error = error
        raise


def open_engine(engine: torch.Tensor) -> OpenEngine:
    """The engine in a tensor, opened once for as long as the tensor lives and is not overwritten.

    Raises:
        EngineError: in its kinds: damaged, too new, built for other hardware.
    """
    with _opening:
        key, version = id(engine), version_of(engine)
        opened = _opened.get(key)
        if opened is None or opened.version != version:
            if opened is None:
                weakref.finalize(engine, _opened.pop, key, None)
            opened = _opened[key] = OpenEngine(engine, version)
        return opened


def version_of(engine: torch.Tensor) -> int:
    """Counts the writes to a tensor; -1 for tensors of inference mode, which do not count."""
    return -1 if engine.is_inference() else engine._version


def take_error() -> Error | None:
    """The error of ours that ended a call in this thread, once: TorchScript passes on only its text."""
    error = getattr(_raised, "error", None)
    _raised.error = None
    return error


def _execute_fake(inputs: list[torch.Tensor], engine: torch.Tensor, signature: str) -> list[torch.Tensor]:
    """Outputs without data, for torch.export and torch.compile."""
    parsed = Signature.parse(signature)
    device = next((x.device for x in inputs), engine.device)
    return parsed.outputs_for(inputs, lambda: torch.library.get_ctx().new_dynamic_size(), device)


_LIBRARY.impl("execute_engine", run_engine, "CPU")
_LIBRARY.impl("execute_engine", run_engine, "CUDA")
torch.library.register_fake("engineworks::execute_engine", _execute_fake, lib=_LIBRARY)
execute_engine = torch.ops.engineworks.execute_engine.default
