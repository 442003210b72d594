"""What workloads are tried on: seeded inputs at the typical value of each dim."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engineworks.core.dims import symbol_facts
from engineworks.core.types import TensorType
from engineworks.ir import scalar
from engineworks.kernels.workload import Workload
from engineworks.ops._products import PRODUCTS, RECURRENT
from engineworks.tuner.trial import TrialData, bound_type, strided_view

DEFAULT_DIM = 64
"""Value of a symbol whose typical value nobody stated, within its bounds."""
LARGEST_INTEGER = 3
PATTERN = (1 << 20) - 3
"""Elements of a large tensor that are drawn; they repeat. An odd number, so that rows and columns differ."""


def typical_dims(work: Workload, stated: Mapping[str, int]) -> dict[str, int]:
    """A value for each symbol of the workload."""
    facts: dict[str, tuple[int, int | None, int]] = {}
    for dim in _dims_of(work):
        facts.update(symbol_facts(dim))
    values = {}
    for name, (low, high, multiple) in facts.items():
        usual = stated.get(name, min(max(low, DEFAULT_DIM), high if high is not None else DEFAULT_DIM))
        values[name] = max(low, -(-usual // multiple) * multiple if usual % multiple else usual)
    return values


def _dims_of(work: Workload) -> list:
    types = [w.type for w in work.inputs if w is not None] + list(work.outputs)
    dims = [d for t in types for d in t.shape]
    if work.loops is not None:
        dims += [*work.loops.parallel, *work.loops.reduced]
    return dims


def draw(
    work: Workload, stated: Mapping[str, int], seed: int = 0, *, in_memory_order: bool = False
) -> TrialData:
    """Inputs: floats in [-1, 1], weights of recurrent layers smaller; integers in 0 … 3, or zeros where a kernel uses
    loaded integers as positions; factors of products of 8-bit integers over their whole range.

    With `in_memory_order` the arrays lie as their types say, and large ones repeat a pattern: a GPU's activations are
    drawn in a moment.
    """
    dims = typical_dims(work, stated)
    rng = np.random.default_rng(seed)
    most = _largest_integer(work)
    make = _laid_out if in_memory_order else _array
    arrays = [None if w is None else make(rng, bound_type(w.type, dims), most) for w in work.inputs]
    if work.anchor is not None and work.anchor.name in RECURRENT:
        arrays[1:3] = [_calm(w) for w in arrays[1:3] if w is not None]
    return TrialData(tuple(arrays), dims)


def _calm(weights: np.ndarray) -> np.ndarray:
    """Weights of a trained layer's size: larger ones amplify the rounding of each step into the next."""
    return (weights.astype(np.float32) / np.sqrt(max(weights.shape[-1], 1))).astype(weights.dtype)


def _laid_out(rng: np.random.Generator, tensor: TensorType, most: int) -> np.ndarray:
    """A logical view of memory in the tensor's layout."""
    count = int(tensor.size_bytes) // tensor.dtype.size_bytes  # type: ignore[call-overload]
    drawn = _array(rng, TensorType(tensor.dtype, (min(count, PATTERN),)), most)
    return strided_view(np.resize(drawn, count).view(np.uint8), tensor)


def _array(rng: np.random.Generator, tensor: TensorType, most: int) -> np.ndarray:
    shape = tuple(int(d) for d in tensor.shape)  # type: ignore[call-overload]
    if tensor.dtype.is_float:
        return rng.uniform(-1, 1, shape).astype(np.float32).astype(tensor.dtype.numpy)
    if tensor.dtype.kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if most > LARGEST_INTEGER and tensor.dtype.bits == 8:
        return rng.integers(0, 256, shape).astype(np.uint8).view(tensor.dtype.numpy)
    return rng.integers(0, min(most, LARGEST_INTEGER) + 1, shape).astype(tensor.dtype.numpy)


def _largest_integer(work: Workload) -> int:
    """The largest magnitude that integers are drawn with."""
    if work.anchor is not None and work.anchor.name in PRODUCTS:
        return 255
    return 0 if _loads_positions(work) else LARGEST_INTEGER


def _loads_positions(work: Workload) -> bool:
    """Integers are used as positions: an index of a load holds a load, or a native op reads integers."""
    if work.loops is None:
        return any(w is not None and w.type.dtype.is_integer for w in work.inputs)
    for stage in work.loops.stages:
        for load in scalar.leaves_of(stage.body, "load"):
            if any(scalar.leaves_of(i, "load") for i in load.args):
                return True
    return False
