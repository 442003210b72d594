"""What argmax and argmin share: the position of an extreme along one axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.cases import example, f32, i32
from engineworks.ir.foreign import ForeignNode, from_onnx
from engineworks.ir.graph import Value
from engineworks.ir.kernel import MonoidName
from engineworks.ops._kinds import Reduction


@dataclass(frozen=True, repr=False)
class Position(Reduction):
    """i64 position of an extreme along the single one of `axes`. Of equal elements the first wins, or the last.

    Class attributes:
        first, last: the monoids without and with `select_last`.
        find: numpy's function that gives the first position.
    """

    axes: tuple[int, ...] = (0,)
    keepdims: bool = True
    select_last: bool = False
    result = dtypes.i64
    first: ClassVar[MonoidName]
    last: ClassVar[MonoidName]
    find: ClassVar[Callable[..., Any]]

    @property
    def monoid(self) -> MonoidName:  # type: ignore[override]
        return self.last if self.select_last else self.first

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0])
        (axis,) = self.normal_axes(x.ndim)
        find = type(self).find
        if not self.select_last:
            return find(x, axis=axis, keepdims=self.keepdims)
        return x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=self.keepdims)

    examples = (
        example(f32(2, 5, 7), axes=(1,)),
        example(i32("N", 30), axes=(-1,), keepdims=False, select_last=True, dims={"N": (1, 4)}),
        example(f32(values=[1, float("nan"), 3, float("nan")])),
    )


def position_from_onnx(kind: str, name: str) -> None:
    """Register ONNX's `kind` as our op `name`, a Position."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        return getattr(g, name)(
            n[0],
            axes=(n.attr("axis", 0),),
            keepdims=bool(n.attr("keepdims", 1)),
            select_last=bool(n.attr("select_last_index", 0)),
        )

    from_onnx(kind)(importer)
