"""Calibration data for engines inside of a model: what the model's inputs make of it on the way there, in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import fx

from engineworks.calibration.batches import FittingBatches, InputNeed
from engineworks.core import dtypes
from engineworks.core.dims import Dim, Scope
from engineworks.core.types import TensorType
from engineworks.errors import CalibrationError
from engineworks.torch_tensorrt.extract import Piece, Program
from engineworks.torch_tensorrt.types import NAME_OF


def is_read_once(data: Any) -> bool:
    """The data is a generator: what one engine has read is not there for the next."""
    return isinstance(data, Iterator)


class PieceSamples:
    """Batches for the inputs of one engine, each a dict of arrays; may be iterated as often as the data may.

    Only one batch of the model, and what follows from it, is held at a time.
    """

    def __init__(self, whole: Program, piece: Piece, data: Any) -> None:
        """`data`: batches for the model's inputs, in any form that BuildConfig.calibrate takes."""
        self._whole = whole
        self._piece = piece
        self._data = data
        self._needed = _before(piece)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Raises CalibrationError: a batch does not fit the model, or the model cannot be run on it."""
        for batch in FittingBatches(self._data, _needs(self._whole)):
            values = self._run({name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in batch.items()})
            yield {n.name: values[n].detach().cpu().contiguous().numpy() for n in self._piece.inputs}

    def _run(self, batch: dict[str, torch.Tensor]) -> dict[fx.Node, Any]:
        values: dict[fx.Node, Any] = {}
        for node in self._whole.graph.nodes:
            if node not in self._needed:
                continue
            try:
                values[node] = self._value(node, values, batch)
            except RuntimeError as error:
                raise CalibrationError(
                    f"{node.target} at node '{node.name}' fails on a batch: {error}"
                ) from error
        return values

    def _value(self, node: fx.Node, values: dict[fx.Node, Any], batch: dict[str, torch.Tensor]) -> Any:
        if node.op == "placeholder":
            if node.name not in batch:
                return self._whole.constants[node.name]
            return batch[node.name].to(node.meta["val"].device)
        if node.op == "get_attr":
            return getattr(self._whole.bodies, str(node.target))
        args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        with torch.no_grad():
            return node.target(*args, **kwargs)  # type: ignore[operator]


def _before(piece: Piece) -> set[fx.Node]:
    """The piece's inputs and all that they follow from."""
    found, waiting = set[fx.Node](), list(piece.inputs)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


def _needs(whole: Program) -> tuple[InputNeed, ...]:
    """What the model's inputs take."""
    scope = Scope()
    given = [n for n in whole.graph.find_nodes(op="placeholder") if n.name not in whole.constants]
    return tuple(InputNeed(n.name, _type(n.meta["val"], whole, scope)) for n in given)


def _type(value: torch.Tensor, whole: Program, scope: Scope) -> TensorType:
    shape = tuple(_dim(size, whole, scope) for size in value.shape)
    return TensorType(dtypes.by_name(NAME_OF[value.dtype]), shape)


def _dim(size: Any, whole: Program, scope: Scope) -> Dim:
    """A size as a dim: torch's symbols with their ranges, and expressions over them as sizes of any value."""
    if isinstance(size, int):
        return size
    limits = whole.ranges.get(size.node.expr)
    highest = int(limits.upper) if limits is not None and limits.upper.is_Integer else None
    name = str(size.node.expr)
    return scope.symbol(name, 1, highest) if name.isidentifier() else scope.fresh("size")
