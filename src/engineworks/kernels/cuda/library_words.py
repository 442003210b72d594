"""Images of one library call: its words, sizes as calls name them, and constants as libraries want them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.tactic import (
    Input,
    KernelImage,
    LibraryCall,
    Packed,
    PackedConstant,
    Size,
    Step,
    Word,
)
from engineworks.kernels.workload import Workload


@dataclass(slots=True)
class LibraryWords:
    """Words while they are collected."""

    words: list[Word] = field(default_factory=list)

    def size(self, dim: Dim) -> int | str:
        """A dim as a call names it; one that is not known yet becomes a word."""
        if isinstance(dim, int):
            return dim
        word = Size(dim)
        if word not in self.words:
            self.words.append(word)
        return f"%{self.words.index(word)}"

    def sizes(self, dims: Sequence[Dim]) -> tuple[int | str, ...]:
        """Each of them."""
        return tuple(self.size(d) for d in dims)


def library_image(
    library: str, text: str, words: LibraryWords, packed: Sequence[PackedConstant], workspace_bytes: int
) -> KernelImage:
    """The image of one call."""
    symbol = f"{library}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return KernelImage(
        {symbol: LibraryCall(library, text)}, frozenset(), (Step(symbol, tuple(words.words)),),
        packed=tuple(packed), workspace=(workspace_bytes,),
    )  # fmt: skip


def bias_word(work: Workload, index: int, packed: list[PackedConstant]) -> Word:
    """The bias in the output's dtype, which is what the libraries add; a constant one is converted.

    Raises:
        NoTactic: it has another dtype, and is not constant.
    """
    operand, out = work.inputs[index], work.outputs[0].dtype
    assert operand is not None, "an omitted input is no bias"
    if operand.type.dtype is out:
        return Input(index)
    if not operand.constant:
        raise NoTactic(f"the libraries add a bias of the output's dtype {out}; this is {operand.type.dtype}")
    packed.append(PackedConstant(Converted(index, out)))
    return Packed(len(packed) - 1)


def rounds_bias(work: Workload, index: int | None) -> bool:
    """The bias loses digits when it is converted. Raises NoTactic: it would have to be, and is not constant."""
    if index is None:
        return False
    bias_word(work, index, [])
    operand = work.inputs[index]
    return operand is not None and operand.type.dtype.bits > work.outputs[0].dtype.bits


@dataclass(frozen=True, slots=True)
class Converted:
    """A constant vector in another dtype."""

    index: int
    dtype: DType

    def __call__(self, constants: Mapping[int, np.ndarray]) -> np.ndarray:
        return np.ascontiguousarray(constants[self.index].reshape(-1).astype(self.dtype.numpy))
