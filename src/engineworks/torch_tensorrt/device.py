"""Device: where a program wants its engines."""

from __future__ import annotations

import logging
from typing import Any, Self

import torch

from engineworks.errors import Unsupported
from engineworks.torch_tensorrt.enums import DeviceType
from engineworks.torch_tensorrt.unsupported import NO_DLA

_log = logging.getLogger("engineworks")


class Device:
    """A device as Torch-TensorRT's programs name it: 'cpu', 'cuda:0', 'gpu:0', or by keywords.

    Where PyTorch sees no GPU, one that is asked for is taken for a wish: engines run on the CPU, and a line in the log
    says so.

    Attributes:
        device_type: as it was asked for.
        gpu_id: the GPU's number; -1: the current one of PyTorch.
        dla_core, allow_gpu_fallback: kept, and without effect.
    """

    def __init__(
        self,
        spec: str | torch.device | None = None,
        *,
        gpu_id: int = -1,
        dla_core: int = -1,
        allow_gpu_fallback: bool = False,
        device_type: DeviceType | None = None,
    ) -> None:
        """Raises Unsupported: a DLA, or a device of another kind."""
        kind, _, number = str(spec).partition(":") if spec is not None else ("", "", "")
        if dla_core >= 0 or kind == "dla" or device_type is DeviceType.DLA:
            raise Unsupported(f"torch_tensorrt.Device: {NO_DLA}.")
        if kind not in ("", "cpu", "cuda", "gpu"):
            raise Unsupported(
                f"torch_tensorrt.Device('{spec}'): engines run on the CPU and on NVIDIA GPUs. Give 'cpu' or 'cuda', "
                f"or leave it out: then the model's own device is taken."
            )
        wants_gpu = kind in ("cuda", "gpu") or gpu_id >= 0 or device_type is DeviceType.GPU
        self.device_type = DeviceType.GPU if wants_gpu else DeviceType.CPU
        self.gpu_id = int(number) if number else gpu_id
        self.dla_core = dla_core
        self.allow_gpu_fallback = allow_gpu_fallback
        if wants_gpu and not torch.cuda.is_available():
            _log.warning("torch_tensorrt.Device: PyTorch sees no GPU here; engines are built for the CPU.")

    @classmethod
    def _from(cls, value: Any) -> Self:
        return value if isinstance(value, cls) else cls(value)

    def to(self, kind: Any) -> torch.device:
        """The device as torch's: the CPU where PyTorch sees no GPU. Raises Unsupported: `kind` is not torch.device."""
        if kind is not torch.device:
            raise Unsupported(f"torch_tensorrt.Device has no twin in {kind}")
        if self.device_type is not DeviceType.GPU or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.gpu_id if self.gpu_id >= 0 else torch.cuda.current_device())

    def __repr__(self) -> str:
        return f"Device(device_type={self.device_type.name}, gpu_id={self.gpu_id})"
