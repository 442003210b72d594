"""How scales and zero points of quantisation lie: one for all, one for each index of an axis, or one for each block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import known_equal
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir.op import Reader
from engineworks.ir.scalar import Scalar, const


def read_scale(read: Reader, scale: TensorType, index: Sequence[Scalar], axis: int, block: int) -> Scalar:
    """The scale (or zero point) that belongs to the element at `index`."""
    if scale.rank == 0:
        return read(())
    if scale.rank == 1 and not block:
        return read((index[axis % len(index)] if scale.shape[0] != 1 else const(0, dtypes.i64),))
    blocked = [i // block if a == axis % len(index) else i for a, i in enumerate(index)]
    return read(tuple(blocked))


def spread(scale: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """The scales broadcast to `shape`, in numpy."""
    if scale.size == 1:
        return np.broadcast_to(scale.reshape(()), shape)
    if scale.ndim == 1 and not block:
        line = [1] * len(shape)
        line[axis] = -1
        return np.broadcast_to(scale.reshape(line), shape)
    return np.repeat(scale, block, axis=axis)[tuple(slice(0, d) for d in shape)]


def check_scale(x: TensorType, scale: TensorType, axis: int, block: int) -> None:
    """Raises InvalidModel when the scale's shape does not fit."""
    if scale.rank > 1 and not block:
        raise InvalidModel(
            f"a scale of shape {scale} needs a block size; without one it is a number or a vector"
        )
    is_vector = scale.rank == 1 and scale.shape[0] != 1 and not block
    if is_vector and (x.rank == 0 or known_equal(scale.shape[0], x.shape[axis % x.rank]) is False):
        raise InvalidModel(
            f"{scale.shape[0]} scales do not fit axis {axis} of {x}: there is one for each index, or one for all"
        )
    if block and scale.rank != x.rank:
        raise InvalidModel(f"a scale for blocks has the rank of the tensor {x}, not {scale}")
