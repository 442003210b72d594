"""Input: shape or range of shapes, element type and layout of one tensor that a module takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Self

import torch

from engineworks.errors import InvalidInput
from engineworks.torch_tensorrt.enums import dtype as Dtype
from engineworks.torch_tensorrt.enums import memory_format

Shape = tuple[int, ...]
RANGE = ("min_shape", "opt_shape", "max_shape")


class Input:
    """One tensor: `Input((1, 3, 224, 224), dtype=torch.half)`, or `Input(min_shape=…, opt_shape=…, max_shape=…)`.

    Attributes:
        shape: a tuple, or for a range a dict with the keys 'min_shape', 'opt_shape' and 'max_shape'.
        dtype: as torch_tensorrt.dtype.
        torch_tensor: an example with real values, where one was given.
        shared_dims: names of axes; axes of one name have one size in all inputs.
    """

    class _ShapeMode(Enum):
        STATIC = 0
        DYNAMIC = 1

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        min_shape: Sequence[int] | None = None,
        opt_shape: Sequence[int] | None = None,
        max_shape: Sequence[int] | None = None,
        dtype: Any = None,
        format: Any = memory_format.linear,
        tensor_domain: tuple[float, float] | None = None,
        torch_tensor: torch.Tensor | None = None,
        name: str = "",
        is_shape_tensor: bool = False,
        shared_dims: Mapping[int, str] | None = None,
    ) -> None:
        """Shapes are in elements, all of one rank.

        Args:
            dtype: torch.dtype, torch_tensorrt.dtype or numpy's; that of `torch_tensor`, else float32.
            tensor_domain: [lowest, highest) of example values; [0, 2) by default.
            name: of the parameter of `forward` that it is for; by position without one.
        Raises:
            InvalidInput: neither a shape nor a whole range, or one that makes no sense.
            Unsupported: a dtype or format that there is not.
        """
        given = {"min_shape": min_shape, "opt_shape": opt_shape, "max_shape": max_shape}
        self.shape: Shape | dict[str, Shape] = _checked(shape, given)
        is_range = isinstance(self.shape, dict)
        self.shape_mode = Input._ShapeMode.DYNAMIC if is_range else Input._ShapeMode.STATIC
        if dtype is None:
            dtype = torch_tensor.dtype if torch_tensor is not None else torch.float32
        self.dtype = Dtype._from(dtype)
        self.format = memory_format._from(format)
        self.low_tensor_domain_incl, self.high_tensor_domain_excl = tensor_domain or (0.0, 2.0)
        self.torch_tensor = torch_tensor
        self.name = name
        self.is_shape_tensor = is_shape_tensor
        self.shared_dims = dict(shared_dims or _field_names(min_shape))

    @property
    def is_dynamic(self) -> bool:
        """Some axis may change from call to call."""
        return isinstance(self.shape, dict) and self.shape["min_shape"] != self.shape["max_shape"]

    def range(self) -> tuple[Shape, Shape, Shape]:
        """Smallest, typical and largest shape."""
        if isinstance(self.shape, dict):
            return self.shape["min_shape"], self.shape["opt_shape"], self.shape["max_shape"]
        return self.shape, self.shape, self.shape

    @classmethod
    def from_tensor(cls, tensor: torch.Tensor, disable_memory_format_check: bool = False) -> Self:
        """The description of a tensor like this one."""
        is_last = tensor.ndim == 4 and not tensor.is_contiguous()
        is_last = is_last and tensor.is_contiguous(memory_format=torch.channels_last)
        layout = (
            memory_format.channels_last
            if is_last and not disable_memory_format_check
            else memory_format.linear
        )
        return cls(tuple(tensor.shape), dtype=tensor.dtype, format=layout, torch_tensor=tensor)

    @classmethod
    def from_tensors(
        cls, tensors: Sequence[torch.Tensor], disable_memory_format_check: bool = False
    ) -> list[Self]:
        """The descriptions of several."""
        return [cls.from_tensor(t, disable_memory_format_check) for t in tensors]

    def example_tensor(self, optimization_profile_field: str | None = None) -> torch.Tensor:
        """A tensor that fits, the same at every call.

        Args:
            optimization_profile_field: 'min_shape', 'opt_shape' (the default) or 'max_shape' of a range.
        """
        low, typical, high = self.range()
        shape = {"min_shape": low, "max_shape": high}.get(optimization_profile_field or "", typical)
        if self.torch_tensor is not None and tuple(self.torch_tensor.shape) == shape:
            return self.torch_tensor
        kind = self.dtype.to(torch.dtype)
        least, most = self.low_tensor_domain_incl, self.high_tensor_domain_excl
        made = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * (most - least) + least
        return made.to(kind).contiguous(memory_format=_layout(self.format, len(shape)))

    def __repr__(self) -> str:
        shape = f"{self.shape}" if not isinstance(self.shape, dict) else ", ".join(
            f"{k}={v}" for k, v in self.shape.items()
        )  # fmt: skip
        return f"Input({shape}, dtype={self.dtype.name}{f', name={self.name!r}' if self.name else ''})"


def _layout(layout: memory_format, rank: int) -> torch.memory_format:
    wanted = layout.to(torch.memory_format)
    ranks = {torch.channels_last: 4, torch.channels_last_3d: 5}
    return wanted if ranks.get(wanted, rank) == rank else torch.contiguous_format


def _checked(
    shape: Sequence[int] | None, given: Mapping[str, Sequence[int] | None]
) -> Shape | dict[str, Shape]:
    missing = [k for k, v in given.items() if v is None]
    if shape is not None:
        if len(missing) < len(given):
            raise InvalidInput("Input: give either shape or min_shape, opt_shape and max_shape, not both.")
        return _sizes("shape", shape)
    if missing:
        what = (
            "a shape, or min_shape, opt_shape and max_shape"
            if len(missing) == len(given)
            else ", ".join(missing)
        )
        raise InvalidInput(f"Input: {what} must be given.")
    ranges = {k: _sizes(k, v) for k, v in given.items() if v is not None}
    if len({len(v) for v in ranges.values()}) > 1:
        raise InvalidInput(f"Input: the ranks of {', '.join(f'{k}={v}' for k, v in ranges.items())} differ.")
    for axis, (low, typical, high) in enumerate(zip(*ranges.values(), strict=True)):
        if not low <= typical <= high:
            raise InvalidInput(f"Input: axis {axis}: min {low} <= opt {typical} <= max {high} does not hold.")
    return ranges


def _sizes(what: str, shape: Any) -> Shape:
    sizes = tuple(shape) if isinstance(shape, (list, tuple, torch.Size)) else None
    if sizes is None or not all(isinstance(s, int) and s >= 0 for s in sizes):
        raise InvalidInput(f"Input: {what} must be a tuple or list of sizes, got {shape!r}.")
    return sizes


def _field_names(shape: Any) -> dict[int, str]:
    """Names of axes where the shape is a named tuple."""
    return dict(enumerate(getattr(shape, "_fields", ())))
