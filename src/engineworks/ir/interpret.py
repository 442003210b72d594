"""Run a Graph with the ops' numpy references: the meaning that every kernel and every rewrite is checked against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, symbols_of
from engineworks.core.types import TensorType
from engineworks.errors import Error
from engineworks.ir import scalar
from engineworks.ir.graph import Graph, Node, Region, Value, regions_of
from engineworks.ir.op import Op


def interpret(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    *,
    dims: Mapping[str, int] | None = None,
    watch: Callable[[Node, Sequence[np.ndarray]], None] | None = None,
) -> dict[str, np.ndarray]:
    """The graph's outputs by name.

    Args:
        inputs: by input name; shapes must fit.
        dims: values of symbols that the inputs' shapes do not tell (bodies know those of the enclosing graph).
        watch: called after each node with its outputs.
    """
    values: dict[int, np.ndarray] = {}
    sizes = {**(dims or {}), **bind_dims(graph, inputs)}
    for value in graph.inputs:
        if value.name not in inputs:
            raise Error(f"input '{value.name}' is missing; given: {', '.join(inputs) or 'none'}")
        values[id(value)] = np.asarray(inputs[value.name])
    for node in graph.nodes:
        arrays = [None if v is None else _read(values, v) for v in node.inputs]
        results = run_node(node, arrays, sizes)
        for value, array in zip(node.outputs, results, strict=True):
            values[id(value)] = array
            _learn(sizes, value.type, array)
        if watch:
            watch(node, results)
    return {name: _read(values, v) for name, v in zip(graph.output_names, graph.outputs, strict=True)}


def _learn(dims: dict[str, int], type: TensorType, array: np.ndarray) -> None:
    """Sizes that depend on the data, known once their array is there."""
    for dim, actual in zip(type.shape, np.shape(array), strict=True):
        name = _symbol_name(dim)
        if name:
            dims.setdefault(name, int(actual))


def _symbol_name(dim: Dim) -> str:
    """The name, where the dim is nothing but one symbol; else ''."""
    names = symbols_of(dim)
    return next((n for n in names if len(names) == 1 and str(dim) in (n, f"`{n}`")), "")


def _read(values: Mapping[int, np.ndarray], value: Value) -> np.ndarray:
    return value.constant.array if value.constant is not None else values[id(value)]


def bind_dims(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """What each named dim of the graph's inputs is for these arrays."""
    dims: dict[str, int] = {}
    for value in graph.inputs:
        array = inputs.get(value.name)
        if array is None:
            continue
        for dim, actual in zip(value.type.shape, np.shape(array), strict=True):
            name = _symbol_name(dim)
            if name:
                dims[name] = int(actual)
    return dims


def run_node(
    node: Node, arrays: Sequence[np.ndarray | None], dims: Mapping[str, int]
) -> tuple[np.ndarray, ...]:
    """One node by its reference; ops with symbolic attributes are evaluated at `dims` first.

    Ops with bodies say how to run them: `op.run_regions(arrays, run)`, where run(region, arrays) takes one array for
    each input of the region, in order, and gives its outputs in order.
    """
    op = bind_op(node.op, dims) if dims else node.op
    with np.errstate(all="ignore"):
        if regions_of(op):
            results = op.run_regions(arrays, lambda region, given: _run_region(region, given, dims))  # type: ignore[attr-defined]
        else:
            results = op.reference(*arrays)
    results = results if isinstance(results, tuple) else (results,)
    typed = []
    for value, result in zip(node.outputs, results, strict=True):
        array = np.asarray(result)
        typed.append(array if array.dtype == object else array.astype(value.type.dtype.numpy, copy=False))
    return tuple(typed)


def _run_region(
    region: Region, arrays: Sequence[np.ndarray], dims: Mapping[str, int]
) -> tuple[np.ndarray, ...]:
    feeds = {v.name: a for v, a in zip(region.graph.inputs, arrays, strict=True)}
    return tuple(interpret(region.graph, feeds, dims=dims).values())


def bind_op(op: Op, dims: Mapping[str, int]) -> Op:
    """The op with symbolic dims among its attributes replaced by their values."""
    import dataclasses

    changed: dict[str, Any] = {}
    for name, attribute in op.attributes().items():
        bound = attribute if name in op.defines else _bind(attribute, dims)
        if bound is not attribute:
            changed[name] = bound
    return dataclasses.replace(op, **changed) if changed else op  # type: ignore[type-var]


def _bind(attribute: Any, dims: Mapping[str, int]) -> Any:
    from engineworks.core.dims import Sym, evaluate

    if isinstance(attribute, Sym):
        return evaluate(attribute, dict(dims))
    if isinstance(attribute, tuple):
        bound = tuple(_bind(a, dims) for a in attribute)
        return attribute if all(a is b for a, b in zip(attribute, bound, strict=True)) else bound
    return attribute


def reference_by_element(op: Op, inputs: Sequence[np.ndarray | None]) -> np.ndarray:
    """Output 0 of an op that has `element`, evaluated over its whole index space at once."""
    arrays = [np.asarray(a) for a in inputs if a is not None]
    types = [TensorType(dtypes.from_numpy(a.dtype), tuple(a.shape)) for a in arrays]
    (out,) = op.infer(*types)
    shape = tuple(int(d) for d in out.shape)  # type: ignore[arg-type]

    def reader(operand: int) -> Callable[[tuple[scalar.Scalar, ...]], scalar.Scalar]:
        return lambda index: scalar.load(operand, index, types[operand].dtype)

    index = tuple(scalar.axis(k) for k in range(len(shape)))
    body = op.element([reader(k) for k in range(len(arrays))], index, (*types, out))
    grid = np.meshgrid(*[np.arange(d) for d in shape], indexing="ij", sparse=True) if shape else []

    def fetch(operand: int, indices: tuple[Any, ...]) -> np.ndarray:
        array = arrays[operand]
        if array.size == 0:
            return np.zeros((), array.dtype)
        clipped = [
            np.clip(i, 0, d - 1) for i, d in zip(indices, array.shape, strict=True)
        ]  # guarded by where()
        return array[tuple(clipped)] if clipped else array

    result = scalar.evaluate(body, load=fetch, axes=dict(enumerate(grid)))
    return np.broadcast_to(result, shape).astype(out.dtype.numpy)


def evaluate_dims(op: Op, arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Shape arithmetic: the op's reference over object arrays of Dims. None when the dims do not decide the answer."""
    from engineworks.errors import Undecided

    try:
        result = op.reference(*arrays)
    except Undecided:
        return None
    return np.asarray(result, dtype=object)
