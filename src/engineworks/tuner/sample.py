"""What a GPU's kernels must compute: elements of the outputs that numpy can compute in a moment, however large the
problem is.

Products, convolutions, attention and pooling are asked for a few rows, columns, images and channels, the first and the
last among them, of which each is a smaller problem of the same kind; loop nests for a part of their domain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from engineworks.core.types import TensorType
from engineworks.kernels.reference.numpy import compute, run_loops_within
from engineworks.kernels.workload import Workload
from engineworks.tuner.closeness import rounds_inside, worst_error
from engineworks.tuner.trial import TrialData, bound

DOMAIN = 1 << 20
"""Points of a loop nest's domain that are computed."""
EDGE = 2
"""Positions at either end of an axis that are always among those computed."""
INDEPENDENT = frozenset({"max_pool", "average_pool", "lp_pool", "global_average_pool", "global_max_pool"})
"""Ops of [N, C, …] that treat each image and channel by itself."""

Picks = Mapping[int, np.ndarray]
"""Positions kept on some axes, by axis."""
Arrays = Sequence[np.ndarray | None]


@dataclass(frozen=True, slots=True)
class Part:
    """Some elements of an output: `whole[index]` should be `values`."""

    index: Any  # what numpy takes between brackets
    values: np.ndarray


def expected_parts(work: Workload, data: TrialData, seed: int = 0) -> list[Part]:
    """For each output the elements to look at."""
    rng = np.random.default_rng(seed)
    if work.loops is not None:
        return _of_loops(work, data, rng)
    assert work.anchor is not None
    chosen = _chosen(work, data, rng)
    if chosen is None:
        return [Part(..., o) for o in compute(work, data.arrays, data.dims)]
    small, arrays, picks = chosen
    (values,) = compute(small, arrays, data.dims)
    index = np.ix_(
        *(picks.get(a, np.arange(bound(n, data.dims))) for a, n in enumerate(work.outputs[0].shape))
    )
    return [Part(index, values)]


def wrong_part(work: Workload, parts: Sequence[Part], outputs: Sequence[np.ndarray]) -> str:
    """Why logical outputs are wrong, or ''."""
    for part, made in zip(parts, outputs, strict=True):
        wrong = worst_error(made[part.index], part.values, rounds_inside=rounds_inside(work))
        if wrong:
            return f"wrong result: {wrong}"
    return ""


# -- loop nests -----------------------------------------------------------------------------------------------------
def _of_loops(work: Workload, data: TrialData, rng: np.random.Generator) -> list[Part]:
    assert work.loops is not None
    sizes = [bound(d, data.dims) for d in (*work.loops.parallel, *work.loops.reduced)]
    counts = list(sizes)
    within: dict[int, np.ndarray] = {}
    while prod(counts) > DOMAIN:
        axis = max(range(len(work.loops.parallel)), key=lambda a: counts[a], default=-1)
        if axis < 0 or counts[axis] <= 4 * EDGE:
            break
        wanted = max(4 * EDGE, counts[axis] * DOMAIN // prod(counts))
        within[axis] = _positions(sizes[axis], wanted, rng)
        counts[axis] = len(within[axis])
    given = [a for a in data.arrays if a is not None]
    with np.errstate(all="ignore"):
        found = run_loops_within(work.loops, given, data.dims, within)
    return [Part(stored, values[stored]) for values, stored in found]


def _positions(size: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted positions on an axis: all where there are few, else its ends and others at random."""
    if size <= wanted:
        return np.arange(size)
    edge = min(EDGE, wanted // 2)
    inner = rng.choice(np.arange(edge, size - edge), wanted - 2 * edge, replace=False)
    return np.unique(np.concatenate([np.arange(edge), inner, np.arange(size - edge, size)]))


# -- anchors --------------------------------------------------------------------------------------------------------
Chosen = tuple[Workload, list[np.ndarray | None], dict[int, np.ndarray]]
"""A smaller problem, its inputs, and which positions of the output's axes it computes."""


def _chosen(work: Workload, data: TrialData, rng: np.random.Generator) -> Chosen | None:
    """None: the problem is computed whole."""
    if len(work.outputs) != 1 or work.anchor is None:
        return None
    shape = tuple(bound(n, data.dims) for n in work.outputs[0].shape)
    match work.anchor.name:
        case "matmul" | "normalised_matmul":
            return _product(work, data.arrays, shape, rng)
        case "conv":
            return _convolution(work, data.arrays, shape, rng)
        case "attention":
            return _attention(work, data.arrays, shape, rng)
        case name if name in INDEPENDENT and work.epilogue is None:
            picks = {0: _positions(shape[0], 2, rng), 1: _positions(shape[1], 16, rng)}
            return _smaller(work, data.arrays, shape, [picks], picks)
    return None


def _product(work: Workload, arrays: Arrays, shape: tuple[int, ...], rng: np.random.Generator) -> Chosen:
    """Some rows and columns of some of the batch."""
    rank = len(shape)
    picks = {a: _positions(shape[a], 4, rng) for a in range(rank - 2)}
    picks |= {rank - 2: _positions(shape[-2], 64, rng), rank - 1: _positions(shape[-1], 96, rng)}
    left = {a: p for a, p in picks.items() if a != rank - 1}
    right = {a: p for a, p in picks.items() if a != rank - 2}
    return _smaller(work, arrays, shape, [left, right], picks)


def _convolution(work: Workload, arrays: Arrays, shape: tuple[int, ...], rng: np.random.Generator) -> Chosen:
    """Some channels (or whole groups) of two images."""
    op: Any = work.anchor
    x, w = arrays[:2]
    assert x is not None and w is not None
    images = _positions(shape[0], 2, rng)
    if op.groups == 1:
        channels = _positions(shape[1], 24, rng)
        inputs = [{0: images}, {0: channels}, {0: channels}]
        return _smaller(work, arrays, shape, inputs, {0: images, 1: channels})
    groups = _positions(op.groups, max(4, 24 * op.groups // shape[1]), rng)
    channels, sources = (_members(groups, n // op.groups) for n in (shape[1], x.shape[1]))
    small = dataclasses.replace(work, anchor=dataclasses.replace(op, groups=len(groups)))
    inputs = [{0: images, 1: sources}, {0: channels}, {0: channels}]
    return _smaller(small, arrays, shape, inputs, {0: images, 1: channels})


def _members(groups: np.ndarray, each: int) -> np.ndarray:
    """Positions of the channels of groups."""
    return (groups[:, None] * each + np.arange(each)).reshape(-1)


def _attention(work: Workload, arrays: Arrays, shape: tuple[int, ...], rng: np.random.Generator) -> Chosen:
    """Some queries of two heads of some of the batch."""
    op: Any = work.anchor
    rank, keys = len(shape), arrays[1]
    assert keys is not None
    picks = {a: _positions(shape[a], 2, rng) for a in range(rank - 3)}
    shared = _positions(keys.shape[-3], 2, rng)
    heads = _members(shared, shape[-3] // keys.shape[-3])
    queries = np.arange(shape[-2]) if op.causal else _positions(shape[-2], 64, rng)
    source = {**picks, rank - 3: shared}
    target = {**picks, rank - 3: heads, rank - 2: queries}
    return _smaller(work, arrays, shape, [target, source, source, target], target)


def _smaller(
    work: Workload,
    arrays: Arrays,
    shape: tuple[int, ...],
    inputs: Sequence[Picks],
    picks: dict[int, np.ndarray],
) -> Chosen:
    """The problem at the positions kept.

    Args:
        inputs: what is kept of each of the anchor's inputs, whose axes are aligned with the output's from the right; an
            axis of size 1 that is broadcast stays. picks: of the output.
    """
    rank, cut = len(shape), []
    for number, array in enumerate(arrays):
        if array is None:
            cut.append(None)
        elif number < work.anchor_inputs:
            cut.append(
                _taken(array, inputs[number] if number < len(inputs) else {}, _offset(work, array, rank))
            )
        else:
            cut.append(_epilogue_operand(work, number - work.anchor_inputs, array, shape, picks))
    operands = tuple(
        None if w is None or a is None else dataclasses.replace(w, type=_as(w.type, a.shape))
        for w, a in zip(work.inputs, cut, strict=True)
    )
    made = tuple(len(picks[a]) if a in picks else n for a, n in enumerate(shape))
    outputs = (_as(work.outputs[0], made),)
    return dataclasses.replace(work, inputs=operands, outputs=outputs), cut, picks


def _offset(work: Workload, array: np.ndarray, rank: int) -> int:
    """Axes of the output that an input lacks on the left; filters and biases count their own axes from 0."""
    assert work.anchor is not None
    return rank - array.ndim if work.anchor.name in ("matmul", "normalised_matmul", "attention") else 0


def _epilogue_operand(
    work: Workload, number: int, array: np.ndarray, shape: tuple[int, ...], picks: Picks
) -> np.ndarray:
    assert work.epilogue is not None and work.anchor is not None
    match work.epilogue.kinds[number]:
        case "full":
            return _taken(array, picks, len(shape) - array.ndim)
        case "channel":
            layout = work.outputs[0].layout
            innermost = layout.order[-1] if layout else len(shape) - 1
            axis = 1 if work.anchor.name in ("conv", "conv_transpose") else innermost
            return array.reshape(-1)[picks[axis]] if axis in picks else array
    return array


def _taken(array: np.ndarray, picks: Picks, offset: int) -> np.ndarray:
    """`array` at the positions kept, on axes it does not broadcast; its axis 0 is axis `offset` of the output."""
    for axis, positions in picks.items():
        own = axis - offset
        if own >= 0 and (array.shape[own] != 1 or len(positions) == 1):
            array = np.take(array, positions, axis=own)
    return array


def _as(tensor: TensorType, shape: tuple[int, ...]) -> TensorType:
    return TensorType(tensor.dtype, shape, tensor.layout)
