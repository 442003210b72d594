"""An engine file in a tensor, opened, and the way of tensors through it without copies."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from engineworks.core import dtypes as ours
from engineworks.engine import container
from engineworks.errors import InvalidInput
from engineworks.runtime.device import Device
from engineworks.runtime.engine import Engine
from engineworks.runtime.variants import first_that_loads
from engineworks.torch_tensorrt.types import TORCH_OF

_ALIGNMENT = 64
"""Bytes; weights that begin at a multiple of it are used where they lie."""
_VIA: dict[torch.dtype, torch.dtype] = {
    torch.bfloat16: torch.int16, torch.float8_e4m3fn: torch.int8, torch.float8_e5m2: torch.int8,
}  # fmt: skip
"""Element types that numpy lacks go through integers of their width."""


class OpenEngine:
    """An engine ready to take tensors; may be used from any number of threads.

    Attributes:
        engine: what was opened; on the CPU its weights are the tensor's memory.
        place: where inputs must lie and outputs will: the CPU, or the GPU that was current when it was opened.
        version: of the tensor when it was opened.
    """

    __slots__ = ("_inputs", "_names", "_outputs", "engine", "place", "version")

    def __init__(self, file: torch.Tensor, version: int) -> None:
        """Raises EngineError in its kinds: damaged, too new, built for other hardware."""
        on_host = file.detach().cpu().contiguous()
        read = container.read(on_host.numpy().data)
        read = dataclasses.replace(read, origin=f"engine '{read.manifest.name}'")
        if on_host.data_ptr() % _ALIGNMENT == 0:
            # Sections begin at multiples of a page within the file, so weights need no copy to be aligned.
            read = dataclasses.replace(read, is_mapped=True)
        self.engine, self.place = first_that_loads(
            read,
            None,
            lambda plan, found: (Engine(plan, found, threads=_threads(found), whole=read), place_of(found)),
        )
        self.version = version
        self._names = tuple(t.name for t in self.engine.inputs)
        self._inputs = tuple(TORCH_OF[t.dtype] for t in self.engine.inputs)
        self._outputs = tuple(TORCH_OF[t.dtype] for t in self.engine.outputs)

    def run(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs in the engine's order, new memory. On a GPU nothing waits for them.

        Raises:
            InvalidInput: a number of inputs, dtype, device, shape or run-time check is not met; an input requires grad.
            DeviceError: no memory.
        """
        if len(inputs) != len(self._names):
            raise InvalidInput(f"the engine takes {len(self._names)} inputs, not {len(inputs)}")
        on_gpu = self.place.type == "cuda"
        take = self._checked if on_gpu else self._array
        given = {
            name: take(name, tensor, dtype)
            for name, tensor, dtype in zip(self._names, inputs, self._inputs, strict=True)
        }
        found = self.engine.run(**given).values()
        if on_gpu and inputs:
            return list(found)
        # Of an engine without inputs, nothing says that its outputs are wanted on the GPU.
        return [
            _tensor(array, dtype).to(self.place) for array, dtype in zip(found, self._outputs, strict=True)
        ]

    def _checked(self, name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if tensor.requires_grad:
            tensor = _without_gradient(name, tensor)
        if tensor.dtype is not dtype:
            raise InvalidInput(
                f"input '{name}': the engine takes {dtype}, got {tensor.dtype}. Convert it: {name}.to({dtype})"
            )
        if tensor.device != self.place:
            raise InvalidInput(
                f"input '{name}' lies on {tensor.device}; this engine computes on {self.place}. "
                f"Move it: {name}.to('{self.place}')"
            )
        return tensor

    def _array(self, name: str, tensor: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
        tensor = self._checked(name, tensor, dtype)
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
        via = _VIA.get(dtype)
        if via is None:
            return tensor.numpy()
        return tensor.view(via).numpy().view(_numpy_of(dtype))


def place_of(device: Device) -> torch.device:
    """Where torch has the memory that a device of ours computes in."""
    driver = getattr(device, "driver", None)
    return torch.device("cpu") if driver is None else torch.device("cuda", driver.facts.index)


def _threads(device: Device) -> int | None:
    """Threads of the host that share the work of an engine; None: the device's own number."""
    return torch.get_num_threads() if device.name == "cpu" else None


def _without_gradient(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if torch.is_grad_enabled():
        raise InvalidInput(
            f"input '{name}' requires grad, and engines compute no gradients. "
            f"Call the module under torch.inference_mode() or torch.no_grad(), or pass {name}.detach()."
        )
    return tensor.detach()


def _tensor(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    via = _VIA.get(dtype)
    if via is None:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(f"i{array.itemsize}")).view(dtype)


def _numpy_of(dtype: torch.dtype) -> Any:
    return next(ours.by_name(name).numpy for name, found in TORCH_OF.items() if found is dtype)
