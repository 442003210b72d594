"""Intermediate values of one inference, record by record: what `engineworks compare --layers` and debug
tensors read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.expression import evaluate
from engineworks.engine.schema import Manifest, Value
from engineworks.runtime.context import Context


@dataclass(frozen=True, slots=True)
class Captured:
    """A value as it was right after the record that finished it.

    Attributes:
        record: its number in the program.
        name: the user's name of the value.
        array: a copy, in the logical order of axes.
    """

    record: int
    name: str
    array: np.ndarray


def capture(context: Context, /, **arrays: Any) -> Iterator[Captured]:
    """Run an inference one record at a time and yield each value of the model as it is finished.

    Values that the builder fused away have no buffer and do not appear. A record inside a loop yields each
    time it runs. The context may not be used for anything else until the iteration ends.

    Raises:
        InvalidInput: an input does not fit.
    """
    # The program writes to the outputs: they must live as long as it steps.
    program, _outputs, bounds = context.start_steps(**arrays)
    manifest = context.manifest
    position: int | None = 0
    while position is not None:
        record = manifest.program[position]
        following = program.step(position)
        values = _current(manifest, bounds, program.symbols)
        for number in record.writes:
            buffer = manifest.buffers[number]
            if buffer.value is None:
                continue
            value = buffer.value
            size = _stored_bytes(value, values)
            yield Captured(position, value.name, _array(value, program.read(number, size), values))
        position = following


def _current(manifest: Manifest, bounds: Mapping[str, int], slots: np.ndarray) -> dict[str, int]:
    """Symbol values now: data-dependent ones as the kernels so far have set them."""
    found = {s.name: int(slots[i]) for i, s in enumerate(manifest.symbols) if s.is_data_dependent}
    return {**bounds, **found}


def _stored_bytes(value: Value, values: Mapping[str, int]) -> int:
    return math.prod(_stored_dims(value, values)) * dtypes.by_name(value.dtype).size_bytes


def _stored_dims(value: Value, values: Mapping[str, int]) -> tuple[int, ...]:
    """Extents in memory order, the rows' padding included."""
    dims = [evaluate(d, values) for d in value.dims]
    stored = [dims[axis] for axis in (value.order or range(len(dims)))]
    if stored:
        stored[-1] += value.row_pad
    return tuple(stored)


def _array(value: Value, content: bytes, values: Mapping[str, int]) -> np.ndarray:
    stored = np.frombuffer(content, dtypes.by_name(value.dtype).numpy).reshape(_stored_dims(value, values))
    if value.row_pad:
        stored = stored[..., : -value.row_pad]
    if value.order:
        stored = stored.transpose(np.argsort(value.order))
    return np.ascontiguousarray(stored).reshape([evaluate(d, values) for d in value.dims])
