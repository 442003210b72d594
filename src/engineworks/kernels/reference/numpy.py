"""A workload computed with numpy, from the ops' own references: slow, clear, independent of every emitter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engineworks.core.dims import Dim, evaluate
from engineworks.ir import scalar
from engineworks.ir.interpret import bind_op
from engineworks.ir.kernel import LoopKernel, Reduce, Store
from engineworks.kernels.workload import Workload
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose

Arrays = Sequence[np.ndarray | None]


def compute(work: Workload, inputs: Arrays, dims: Mapping[str, int] | None = None) -> list[np.ndarray]:
    """Outputs of `work` as logical arrays. Pieces of a larger output hold zeros elsewhere."""
    values = dict(dims or {})
    with np.errstate(all="ignore"):
        if work.loops is not None:
            return run_loops(work.loops, [a for a in inputs if a is not None], values)
        return _run_anchor(work, inputs, values)


def _run_anchor(work: Workload, inputs: Arrays, dims: dict[str, int]) -> list[np.ndarray]:
    assert work.anchor is not None
    own = list(inputs[: work.anchor_inputs])
    result = bind_op(work.anchor, dims).reference(*own)
    outputs = [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]
    if work.epilogue is not None:
        operands = [np.asarray(a) for a in inputs[work.anchor_inputs :] if a is not None]
        # A conv's channel vector [C] follows axis 1 of the logical tensor; numpy would align it with the last one.
        shaped = [
            _along_channels(a, outputs[0], work) if kind == "channel" else a
            for a, kind in zip(operands, work.epilogue.kinds, strict=True)
        ]
        accumulator = outputs[0].astype(_accumulator_dtype(work))
        outputs[0] = scalar.evaluate(work.epilogue.expression, [accumulator, *shaped])
    return [
        np.broadcast_to(np.asarray(o), _bound(t.shape, dims)).astype(t.dtype.numpy)
        for o, t in zip(outputs, work.outputs, strict=True)
    ]


def _accumulator_dtype(work: Workload) -> Any:
    assert work.epilogue is not None
    for leaf in scalar.leaves_of(work.epilogue.expression, "argument"):
        if leaf.payload == 0:
            return leaf.dtype.numpy
    return work.outputs[0].dtype.numpy


def _along_channels(array: np.ndarray, out: np.ndarray, work: Workload) -> np.ndarray:
    layout = work.outputs[0].layout
    innermost = layout.order[-1] if layout else out.ndim - 1
    axis = 1 if isinstance(work.anchor, (Conv, ConvTranspose)) else innermost
    return array.reshape([array.size if a == axis else 1 for a in range(out.ndim)])


def run_loops(kernel: LoopKernel, inputs: Sequence[np.ndarray], dims: Mapping[str, int]) -> list[np.ndarray]:
    """A loop kernel over its whole domain at once."""
    return [values for values, _ in run_loops_within(kernel, inputs, dims, {})]


def run_loops_within(
    kernel: LoopKernel,
    inputs: Sequence[np.ndarray],
    dims: Mapping[str, int],
    within: Mapping[int, np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """A loop kernel over a part of its domain: each output, and a bool array that says which elements were stored.

    Args:
        within: positions on some of the parallel axes, by axis; all of them on the others.
    """
    parallel, reduced = _bound(kernel.parallel, dims), _bound(kernel.reduced, dims)
    positions = [within.get(k, np.arange(n)) for k, n in enumerate((*parallel, *reduced))]
    domain = tuple(len(p) for p in positions)
    axes = {k: p.reshape([-1 if a == k else 1 for a in range(len(domain))]) for k, p in enumerate(positions)}
    folded = tuple(range(len(parallel), len(domain)))
    outputs = [
        (np.zeros(_bound(t.shape, dims), t.dtype.numpy), np.zeros(_bound(t.shape, dims), bool))
        for t in kernel.outputs
    ]
    stages: dict[int, np.ndarray] = {}

    def load(operand: int, index: tuple[Any, ...]) -> np.ndarray:
        array = inputs[operand]
        if array.size == 0:
            return np.zeros((), array.dtype)
        clipped = [
            np.clip(i, 0, d - 1) for i, d in zip(index, array.shape, strict=True)
        ]  # guarded by where()
        return array[tuple(clipped)] if clipped else array

    def value_of(expr: scalar.Scalar) -> np.ndarray:
        return scalar.evaluate(expr, load=load, axes=axes, dims=dims, stages=stages)

    for number, stage in enumerate(kernel.stages):
        if isinstance(stage, Reduce):
            body = np.broadcast_to(value_of(stage.body), domain)
            stages[number] = _fold(stage, body, folded)
        else:
            _write(stage, outputs, value_of, domain, folded)
    return outputs


def _write(
    stage: Store,
    outputs: list[tuple[np.ndarray, np.ndarray]],
    value_of: Any,
    domain: tuple[int, ...],
    folded: tuple[int, ...],
) -> None:
    shape = domain if stage.over_reduced else tuple(1 if a in folded else d for a, d in enumerate(domain))
    value = np.asarray(value_of(stage.body))
    target, stored = outputs[stage.output]
    index = [np.broadcast_to(value_of(i), shape) for i in stage.index]
    if 0 in shape:
        return
    where = tuple(index) if index else ...
    target[where] = np.broadcast_to(value, shape) if index else value.reshape(())
    stored[where] = True


def _fold(stage: Reduce, body: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    wide = body.astype(np.float64) if body.dtype.kind == "f" else body
    match stage.monoid:
        case "sum":
            out = wide.sum(axis=axes, keepdims=True)
        case "prod":
            out = wide.prod(axis=axes, keepdims=True)
        case "max":
            out = body.max(axis=axes, keepdims=True, initial=_lowest(body.dtype))
        case "min":
            out = body.min(axis=axes, keepdims=True, initial=_highest(body.dtype))
        case "any":
            out = body.any(axis=axes, keepdims=True)
        case "all":
            out = body.all(axis=axes, keepdims=True)
        case "argmax_first" | "argmin_first" | "argmax_last" | "argmin_last":
            out = _position(stage.monoid, body, axes[0])
    return out.astype(stage.dtype.numpy)


def _position(monoid: str, body: np.ndarray, axis: int) -> np.ndarray:
    find = np.argmax if monoid.startswith("argmax") else np.argmin
    if monoid.endswith("first"):
        return np.expand_dims(find(body, axis=axis), axis)
    return body.shape[axis] - 1 - np.expand_dims(find(np.flip(body, axis), axis=axis), axis)


def _lowest(dtype: np.dtype) -> Any:
    if dtype.kind == "b":
        return False
    return -np.inf if dtype.kind not in "iu" else np.iinfo(dtype).min


def _highest(dtype: np.dtype) -> Any:
    if dtype.kind == "b":
        return True
    return np.inf if dtype.kind not in "iu" else np.iinfo(dtype).max


def _bound(dims: Sequence[Dim], values: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else evaluate(d, dict(values)) for d in dims)
