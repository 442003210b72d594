"""Enumerations with Torch-TensorRT's names; each also says what torch and Engineworks call its members."""

from __future__ import annotations

import builtins
from enum import Enum, auto
from typing import Any, Self

import numpy as np
import torch

from engineworks.errors import Unsupported
from engineworks.torch_tensorrt.types import NAME_OF, TORCH_OF


class dtype(Enum):
    """Element types."""

    unknown = "unknown"
    u8 = "u8"
    i8 = "i8"
    i32 = "i32"
    i64 = "i64"
    f16 = "f16"
    f32 = "f32"
    f64 = "f64"
    b = "bool"
    bf16 = "bf16"
    f8 = "f8e4m3"
    f4 = "f4e2m1"
    uint8 = u8
    int8 = i8
    int32 = i32
    int = i32  # noqa: PIE796
    int64 = i64
    long = i64  # noqa: PIE796
    half = f16
    fp16 = f16  # noqa: PIE796
    float16 = f16  # noqa: PIE796
    float = f32
    fp32 = f32  # noqa: PIE796
    float32 = f32  # noqa: PIE796
    double = f64
    fp64 = f64  # noqa: PIE796
    float64 = f64  # noqa: PIE796
    bfloat16 = bf16
    bool = b
    float8 = f8
    fp8 = f8  # noqa: PIE796
    float4 = f4
    fp4 = f4  # noqa: PIE796

    @classmethod
    def _from(cls, value: Any) -> Self:
        """The member for a torch.dtype, a numpy dtype or a member. Raises Unsupported: there is none."""
        if isinstance(value, cls):
            return value
        name = NAME_OF.get(value) if isinstance(value, torch.dtype) else None
        if name is None and not isinstance(value, torch.dtype):
            name = _numpy_name(value)
        try:
            return cls(name)
        except ValueError:
            raise Unsupported(
                f"{value!r} is no element type of torch_tensorrt.dtype; there are "
                f"{', '.join(m.name for m in cls if m is not cls.unknown)}"
            ) from None

    @classmethod
    def try_from(cls, value: Any) -> Self | None:
        """As `_from`, None where there is no such type."""
        try:
            return cls._from(value)
        except Unsupported:
            return None

    def to(self, kind: Any) -> Any:
        """The type as a torch.dtype, as a numpy dtype, or as a member. Raises Unsupported: it has no such twin."""
        if kind is torch.dtype and self.value in TORCH_OF:
            return TORCH_OF[self.value]
        if kind is np.dtype and self.value in TORCH_OF:
            return torch.empty(0, dtype=TORCH_OF[self.value]).numpy().dtype
        if kind is dtype:
            return self
        raise Unsupported(f"torch_tensorrt.dtype.{self.name} has no twin in {kind}")

    def try_to(self, kind: Any) -> Any:
        """As `to`, None where there is no twin."""
        try:
            return self.to(kind)
        except (Unsupported, TypeError):
            return None

    def __eq__(self, other: object) -> builtins.bool:
        if isinstance(other, dtype):
            return self is other
        return other is not None and dtype.try_from(other) is self

    def __hash__(self) -> builtins.int:
        return hash(self.value)


def _numpy_name(value: Any) -> str | None:
    from engineworks.core import dtypes

    try:
        return dtypes.from_numpy(np.dtype(value)).name
    except (TypeError, ValueError):
        return None


class memory_format(Enum):
    """How a tensor lies in memory. Inputs may lie in any way; engines read rows."""

    linear = auto()
    hwc = auto()
    dhwc = auto()
    contiguous = linear
    channels_last = hwc
    channels_last_3d = dhwc

    @classmethod
    def _from(cls, value: Any) -> Self:
        """The member for a torch.memory_format. Raises Unsupported: there is none."""
        if isinstance(value, cls):
            return value
        found = {
            torch.contiguous_format: cls.linear, torch.preserve_format: cls.linear,
            torch.channels_last: cls.hwc, torch.channels_last_3d: cls.dhwc,
        }.get(value)  # fmt: skip
        if found is None:
            raise Unsupported(
                f"{value!r} is no memory format; give torch.contiguous_format or torch.channels_last"
            )
        return found

    def to(self, kind: Any) -> Any:
        """The format as torch's. Raises Unsupported: `kind` is not torch.memory_format."""
        if kind is not torch.memory_format:
            raise Unsupported(f"torch_tensorrt.memory_format.{self.name} has no twin in {kind}")
        formats = {
            "linear": torch.contiguous_format,
            "hwc": torch.channels_last,
            "dhwc": torch.channels_last_3d,
        }
        return formats[self.name]


class DeviceType(Enum):
    """Kinds of devices. CPU is ours; the others are named by programs written for them."""

    UNKNOWN = auto()
    GPU = auto()
    DLA = auto()
    CPU = auto()


class EngineCapability(Enum):
    """Restrictions of an engine: none here."""

    STANDARD = auto()
    SAFETY = auto()
    DLA_STANDALONE = auto()


class Platform(Enum):
    """Where engines run."""

    LINUX_X86_64 = auto()
    LINUX_AARCH64 = auto()
    WIN_X86_64 = auto()
    UNKNOWN = auto()

    @classmethod
    def current_platform(cls) -> Platform:
        """Of this process."""
        import platform

        known = {("Linux", "x86_64"): cls.LINUX_X86_64, ("Linux", "aarch64"): cls.LINUX_AARCH64}
        return known.get((platform.system(), platform.machine()), cls.UNKNOWN)
