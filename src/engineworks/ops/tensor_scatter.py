"""A cache with new entries written along its sequence axis."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Reader, Value, example, f32, from_onnx, i64, op
from engineworks.ir.scalar import Scalar, apply, cast, const, size, where


@op("tensor_scatter")
class TensorScatter(Op):
    """out = cache, but out[b, …, start[b] + s, …] = update[b, …, s, …] at `axis`.

    Inputs: cache, update, and optionally start, integers [batch] (else 0). `is_circular`: places wrap around.
    """

    axis: int = -2
    is_circular: bool = False

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        cache, update, *rest = inputs
        assert cache is not None and update is not None
        axis = normalize_axis(self.axis, cache.rank)
        if axis == 0 or update.rank != cache.rank or update.dtype is not cache.dtype:
            raise InvalidModel(f"update {update} does not fit the cache {cache} along axis {axis}")
        if rest and rest[0] is not None and (rest[0].rank != 1 or not rest[0].dtype.is_integer):
            raise InvalidModel(f"the starts must be integers [batch], not {rest[0]}")
        return (TensorType(cache.dtype, cache.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        out, update = np.array(inputs[0]), np.asarray(inputs[1])
        axis = self.axis % out.ndim
        starts = (
            np.zeros(len(out), np.int64) if len(inputs) < 3 or inputs[2] is None else np.asarray(inputs[2])
        )
        for batch, start in enumerate(starts):
            places = start + np.arange(update.shape[axis])
            places = places % out.shape[axis] if self.is_circular else places
            target = np.moveaxis(out[batch], axis - 1, 0)
            target[places] = np.moveaxis(update[batch], axis - 1, 0)
        return out

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        axis, zero = normalize_axis(self.axis, len(index)), const(0, dtypes.i64)
        start = cast(inputs[2]((index[0],)), dtypes.i64) if len(inputs) > 2 else zero
        step = index[axis] - start
        if self.is_circular:
            step = step % size(types[0].shape[axis])
        is_new = apply("and", apply("le", zero, step), apply("lt", step, size(types[1].shape[axis])))
        return where(is_new, inputs[1]((*index[:axis], step, *index[axis + 1 :])), inputs[0](index))

    examples = (
        example(f32(2, 3, 6, 4), f32(2, 3, 2, 4), i64(2, values=[0, 4])),
        example(f32(2, 5, 4), f32(2, 3, 4), i64(2, values=[4, 1]), is_circular=True),
        example(f32(1, 4, 3), f32(1, 2, 3)),
    )


@from_onnx("TensorScatter")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    inputs = [v for v in n.inputs if v is not None]
    return g.tensor_scatter(
        *inputs, axis=n.attr("axis", -2), is_circular=n.attr("mode", "linear") == "circular"
    )
