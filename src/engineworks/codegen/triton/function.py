"""One kernel as Triton text, with everything that decides its machine code.

The text defines one function, called `KernelFunction.name`, under `@triton.jit`; helpers may stand above it.
These names are there without an import: `triton`, `tl`, `libdevice`, `gdc_wait`, `gdc_launch_dependents` and
`prefetch(address, size)`, which asks for bytes to be brought into the level-2 cache, a multiple of 16 from a
multiple of 16. The last three do nothing where the target has no programmatic dependent launch, and in the
interpreter.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from engineworks.core.dtypes import DType

_SPELLINGS = {
    "f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16", "f8e4m3": "fp8e4nv", "f8e5m2": "fp8e5",
    "i64": "i64", "i32": "i32", "i16": "i16", "i8": "i8", "u64": "u64", "u32": "u32", "u16": "u16", "u8": "u8",
    "bool": "u8",
}  # fmt: skip
"""Element types in memory as signatures spell them. A bool is one byte, 0 or 1."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter.

    Attributes:
        type: as Triton's signatures spell it: '*fp16', 'i32', 'i64', 'fp32', 'tensordesc<fp16[128, 64]>'.
        divisible: an address or integer that is a multiple of 16, which the compiler may rely on.
    """

    name: str
    type: str
    divisible: bool = False


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """See the module.

    Attributes:
        name: of the function in `text`, and the kernel's symbol; holds the hash of what it depends on (`named`).
        arguments: in order, one for each word of the step that launches it.
        warps, stages: of a block; depth of software pipelining.
        blocks: of a cluster.
        max_registers: of a thread; None leaves it to the compiler.
        waits: the text calls gdc_wait before it touches anything that another kernel wrote or reads, so it may be
            launched while the one before it still runs.
    """

    name: str
    text: str
    arguments: tuple[Argument, ...]
    warps: int = 4
    stages: int = 3
    blocks: int = 1
    max_registers: int | None = None
    waits: bool = False

    def key(self) -> str:
        """Equal for functions that compile to equal code on one architecture."""
        parts = (self.text, *(repr(a) for a in self.arguments), f"{self.warps} {self.stages} {self.blocks}",
                 f"{self.max_registers} {self.waits}")  # fmt: skip
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


NAME = "KERNEL"
"""Stands for the function's name in text given to `named`."""


def named(
    family: str,
    text: str,
    arguments: tuple[Argument, ...],
    *,
    warps: int = 4,
    stages: int = 3,
    blocks: int = 1,
    max_registers: int | None = None,
    waits: bool = False,
) -> KernelFunction:
    """The function of `text`, whose name (written `KERNEL` there) becomes the family's with a hash of all there is."""
    draft = KernelFunction(family, text, arguments, warps, stages, blocks, max_registers, waits)
    name = f"{family}_{draft.key()[:16]}"
    return KernelFunction(
        name, text.replace(NAME, name), arguments, warps, stages, blocks, max_registers, waits
    )


def element_type(dtype: DType) -> str:
    """Triton's spelling of an element in memory. Raises KeyError: types of less than a byte, strings."""
    return _SPELLINGS[dtype.name]


def pointer(name: str, dtype: DType) -> Argument:
    """A parameter that points to elements of `dtype`; buffers begin at multiples of 16 bytes (64, most of them)."""
    return Argument(name, f"*{element_type(dtype)}", divisible=True)
