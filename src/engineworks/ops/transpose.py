"""Permutation of axes: a view, never a copy when a reader can follow it."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Reader, Value, example, f32, from_onnx, op
from engineworks.ir.scalar import Scalar


@op("transpose")
class Transpose(Op):
    """Output axis k is input axis perm[k]."""

    perm: tuple[int, ...]
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if sorted(self.perm) != list(range(x.rank)):
            raise InvalidModel(f"perm {self.perm} is no permutation of the axes of {x}")
        return (TensorType(x.dtype, tuple(x.shape[p] for p in self.perm)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.transpose(inputs[0], self.perm)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        source = [index[0]] * len(self.perm) if self.perm else []
        for out_axis, in_axis in enumerate(self.perm):
            source[in_axis] = index[out_axis]
        return inputs[0](tuple(source))

    examples = (example(f32(2, 3, 4), perm=(2, 0, 1)), example(f32("N", 5), perm=(1, 0), dims={"N": (1, 4)}))


@from_onnx("Transpose")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    rank = n[0].type.rank
    return g.transpose(n[0], perm=tuple(n.attr("perm", tuple(reversed(range(rank))))))
