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
        self._first = _DESCRIPTOR_WORDS * len(maps)
        slots = self._first + _HIDDEN + sum(self._slots_of(w) for w in words)
        self._block = np.zeros(slots + 8, np.uint64)
        skip = -self._block.ctypes.data % 64 // 8
        # pyrefly: ignore[bad-argument-type]
        self._values = memoryview(self._block[skip : skip + slots])
        base = self._block.ctypes.data + 8 * skip
        places = self._fill(words)
        self._pointers = (ctypes.c_void_p * len(places))(*(base + 8 * p for p in places))
        self.pointer = ctypes.addressof(self._pointers)

    def rebind(self, words: Sequence[Word]) -> None:
        """Other values of the same kinds."""
        self._fill(words)

    def _slots_of(self, word: Word) -> int:
        if isinstance(word, int):
            return 1
        rank = len(word.sizes)
        return 2 * rank if self._swizzles else 2 + 4 * rank

    def _fill(self, words: Sequence[Word]) -> list[int]:
        """Write all values; the place of each parameter."""
        places: list[int] = []
        at, descriptors = self._first, 0
        for word in words:
            if isinstance(word, int):
                expanded = [word]
            elif self._swizzles:
                encoded = self._encode(word, self._swizzles[descriptors])
                start = _DESCRIPTOR_WORDS * descriptors
                for k, value in enumerate(encoded):
                    self._values[start + k] = value
                places.append(start)
                descriptors += 1
                expanded = [*word.sizes, *word.strides]
            else:
                facts = [*word.sizes, *word.strides]
                expanded = [word.address, *facts, 0, *facts]
            for value in expanded:
                self._values[at] = value & _MASK
                places.append(at)
                at += 1
        return [*places, *range(at, at + _HIDDEN)]
