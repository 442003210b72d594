"""The weights section: packed and plain constants, equal bytes once, each 64-byte aligned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from engineworks.engine.schema import WEIGHTS_ALIGNMENT as ALIGNMENT
from engineworks.ir.graph import Value


class WeightsSection:
    """Collects arrays and gives each its offset."""

    def __init__(self) -> None:
        self._chunks: list[np.ndarray] = []
        self._offsets: dict[str, int] = {}
        self._plain: dict[int, int] = {}
        self.size = 0

    def add(self, array: np.ndarray) -> int:
        """Byte offset of these bytes in the section."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        key = hashlib.blake2b(data.data, digest_size=16).hexdigest()
        if key not in self._offsets:
            self.size = -(-self.size // ALIGNMENT) * ALIGNMENT
            self._offsets[key] = self.size
            self._chunks.append(data)
            self.size += data.nbytes
        return self._offsets[key]

    def plain(self, value: Value) -> int:
        """Offset of a constant as it is, row-major."""
        if id(value) not in self._plain:
            self._plain[id(value)] = self.add(value.array)
        return self._plain[id(value)]

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each run of bytes that was added, at its offset, in order."""
        position = 0
        for chunk in self._chunks:
            position = -(-position // ALIGNMENT) * ALIGNMENT
            yield position, chunk
            position += chunk.nbytes

    def tobytes(self) -> bytearray:
        """The section's bytes."""
        out = bytearray(self.size)
        view = np.frombuffer(out, np.uint8)
        for position, chunk in self.chunks():
            view[position : position + chunk.nbytes] = chunk
        return out
