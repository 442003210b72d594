"""The first steps of each sequence of a batch in reverse order."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Reader, Value, example, f32, from_onnx, i64, op
from engineworks.ir.scalar import Scalar, apply, cast, where


@op("reverse_sequence")
class ReverseSequence(Op):
    """Along `time_axis` the first lengths[b] elements of batch entry b are reversed; the others stay."""

    time_axis: int = 0
    batch_axis: int = 1

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, lengths = inputs
        assert x is not None and lengths is not None
        time, batch = normalize_axis(self.time_axis, x.rank), normalize_axis(self.batch_axis, x.rank)
        if time == batch or lengths.rank != 1 or not lengths.dtype.is_integer:
            raise InvalidModel(f"needs two different axes and integer lengths [batch]; got {lengths}")
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, lengths = np.asarray(inputs[0]), np.asarray(inputs[1])
        grid = list(np.ogrid[tuple(slice(d) for d in x.shape)])
        time = grid[self.time_axis]
        length = lengths[grid[self.batch_axis]]
        grid[self.time_axis] = np.where(time < length, length - 1 - time, time)
        return x[tuple(grid)]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        time = normalize_axis(self.time_axis, len(index))
        length = cast(inputs[1]((index[normalize_axis(self.batch_axis, len(index))],)), dtypes.i64)
        source = where(apply("lt", index[time], length), length - 1 - index[time], index[time])
        return inputs[0]((*index[:time], source, *index[time + 1 :]))

    examples = (
        example(f32(4, 3, 2), i64(3, values=[4, 1, 3])),
        example(f32(2, 5), i64(2, values=[0, 3]), time_axis=1, batch_axis=0),
    )


@from_onnx("ReverseSequence")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.reverse_sequence(
        n[0], n[1], time_axis=n.attr("time_axis", 0), batch_axis=n.attr("batch_axis", 1)
    )
