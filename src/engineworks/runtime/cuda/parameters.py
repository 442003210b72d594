"""The parameters of one launch as the driver wants them: an array of pointers to values.

Each value has a slot of 8 bytes, of which a 32-bit parameter reads the lower half. A tensor map becomes, as Triton
3.6 lowers a 'tensordesc' parameter: its 128-byte descriptor, sizes (i32), strides (i64); for architectures without
descriptors the address, sizes and strides (i64), a flag for NaN padding, then sizes and strides again.
Two null pointers follow the last word: Triton's scratch memories.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from engineworks.runtime.cuda.interface import TensorMapWord, Word

_MASK = (1 << 64) - 1
_DESCRIPTOR_WORDS = 16
"""u64 words of a CUtensorMap, which lies at a multiple of 64 bytes."""
_HIDDEN = 2

Encode = Callable[[TensorMapWord, int], Sequence[int]]
"""The 16 u64 words of the descriptor of a map, for a CUtensorMapSwizzle."""


class Parameters:
    """Values and pointers to them.

    Args:
        swizzles: of each map among the words; empty where the architecture has no descriptors.
        encode: makes descriptors.

    Attributes:
        pointer: address of the array of pointers.
    """

    def __init__(self, words: Sequence[Word], swizzles: Sequence[int], encode: Encode) -> None:
        self._swizzles = tuple(swizzles)
        self._encode = encode
        maps = [w for w in words if isinstance(w, TensorMapWord)] if self._swizzles else []
        assert len(maps) == len(self._swizzles), f"{len(maps)} tensor maps, {len(self._swizzles)} swizzles"
        # Descriptors first, so that they keep the alignment of the block.
        slots = _DESCRIPTOR_WORDS * len(maps) + _HIDDEN + sum(self._slots_of(w) for w in words)
        self._block = np.zeros(slots + 8, np.uint64)
        skip = -self._block.ctypes.data % 64 // 8
        # pyrefly: ignore[bad-argument-type]
        self._values = memoryview(self._block[skip : skip + slots])
        self._words: list[Word] = list(words)
        self._starts: list[tuple[int, int]] = []
        base = self._block.ctypes.data + 8 * skip
        places = self._fill_all(_DESCRIPTOR_WORDS * len(maps))
        self._pointers = (ctypes.c_void_p * len(places))(*(base + 8 * p for p in places))
        self.pointer = ctypes.addressof(self._pointers)

    def rebind(self, words: Sequence[Word]) -> None:
        """Other values of the same kinds."""
        for k, (old, new) in enumerate(zip(self._words, words, strict=True)):
            if old != new:
                self._words[k] = new
                self._fill(new, *self._starts[k])

    def _slots_of(self, word: Word) -> int:
        if isinstance(word, int):
            return 1
        rank = len(word.sizes)
        return 2 * rank if self._swizzles else 2 + 4 * rank

    def _fill_all(self, at: int) -> list[int]:
        """Write all values, from slot `at` on; the place of each parameter."""
        places: list[int] = []
        descriptor = 0
        for word in self._words:
            self._starts.append((at, descriptor))
            if isinstance(word, TensorMapWord) and self._swizzles:
                places.append(_DESCRIPTOR_WORDS * descriptor)
                self._fill(word, at, descriptor)
                descriptor += 1
            else:
                self._fill(word, at, descriptor)
            places += range(at, at + self._slots_of(word))
            at += self._slots_of(word)
        return [*places, *range(at, at + _HIDDEN)]

    def _fill(self, word: Word, at: int, descriptor: int) -> None:
        if isinstance(word, int):
            self._values[at] = word & _MASK
            return
        facts = [*word.sizes, *word.strides]
        if self._swizzles:
            first = _DESCRIPTOR_WORDS * descriptor
            for k, value in enumerate(self._encode(word, self._swizzles[descriptor])):
                self._values[first + k] = value
        else:
            facts = [word.address, *facts, 0, *facts]
        for k, value in enumerate(facts):
            self._values[at + k] = value & _MASK
