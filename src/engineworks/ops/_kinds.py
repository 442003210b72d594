"""Shared bases of operators: Pointwise and Reduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.shapes import broadcast
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import scalar
from engineworks.ir.kernel import MonoidName
from engineworks.ir.op import Op, Reader
from engineworks.ir.scalar import Scalar


class Pointwise(Op):
    """An op that works element by element on inputs broadcast together: `scalar` is its whole meaning.

    Class attributes:
        result: dtype of the output: 'same' as the inputs, or a DType.
        accepts: kinds of dtype the inputs may have.
    """

    result: ClassVar[str | DType] = "same"
    accepts: ClassVar[tuple[str, ...]] = ("float", "int", "uint")

    def scalar(self, *xs: Scalar) -> Scalar:
        """One output element from one element of each input."""
        raise NotImplementedError

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        given = [t for t in inputs if t is not None]
        for t in given:
            if t.dtype.kind not in self.accepts:
                raise InvalidModel(f"dtype {t.dtype} is not accepted ({', '.join(self.accepts)} are)")
        compared = given[1:] if self.name == "where" else given
        if any(t.dtype is not compared[0].dtype for t in compared):
            raise InvalidModel(
                f"inputs of different dtypes {', '.join(str(t.dtype) for t in given)}; cast first"
            )
        shape = broadcast(*[t.shape for t in given])
        return (TensorType(self.output_dtype(compared[0].dtype), shape),)

    def output_dtype(self, dtype: DType) -> DType:
        """dtype of the output for inputs of `dtype`."""
        return dtype if isinstance(self.result, str) else self.result

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        arrays = [np.asarray(a) for a in inputs if a is not None]
        arguments = [scalar.argument(k, dtypes.from_numpy(a.dtype)) for k, a in enumerate(arrays)]
        shape = np.broadcast_shapes(*[a.shape for a in arrays])
        return np.broadcast_to(scalar.evaluate(self.scalar(*arguments), arrays), shape)

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        reads = [
            read(broadcast_index(index, t)) for read, t in zip(inputs, types[: len(inputs)], strict=True)
        ]
        return self.scalar(*reads)


def broadcast_index(index: tuple[Scalar, ...], source: TensorType) -> tuple[Scalar, ...]:
    """The index into an input of type `source` that is broadcast to the output `index` belongs to."""
    zero = scalar.const(0, dtypes.i64)
    skipped = len(index) - source.rank
    return tuple(zero if source.shape[a] == 1 else index[skipped + a] for a in range(source.rank))


class Reduction(Op):
    """Folds axes away. Subclasses are dataclasses with fields `axes: tuple[int, ...]` (non-negative after
    `normal_axes`; empty: all) and `keepdims: bool`.

    Class attributes:
        monoid: how elements combine.
    """

    monoid: ClassVar[MonoidName]
    result: ClassVar[str | DType] = "same"
    axes: tuple[int, ...]
    keepdims: bool

    def normal_axes(self, rank: int) -> tuple[int, ...]:
        """The reduced axes, non-negative and sorted; all of them when none are named."""
        named = self.axes or tuple(range(rank))
        for a in named:
            if not -rank <= a < rank:
                raise InvalidModel(f"axis {a} is outside of a tensor of rank {rank}")
        return tuple(sorted({a % rank for a in named})) if rank else ()

    def before(self, x: Scalar) -> Scalar:
        """Applied to each element before it is combined."""
        return x

    def after(self, total: Scalar, count: Scalar) -> Scalar:
        """Applied to the combined value; `count` is the i64 number of elements combined."""
        return total

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        axes = self.normal_axes(x.rank)
        dtype = x.dtype if isinstance(self.result, str) else self.result
        return (TensorType(dtype, reduced_shape(x.shape, axes, self.keepdims)),)


def reduced_shape(shape: tuple[Dim, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[Dim, ...]:
    """`shape` without `axes`, or with 1 in their place."""
    if keepdims:
        return tuple(1 if a in axes else d for a, d in enumerate(shape))
    return tuple(d for a, d in enumerate(shape) if a not in axes)
