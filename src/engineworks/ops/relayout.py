"""The same tensor lying differently in memory: what the layout pass inserts where two kernels disagree."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.types import Layout, TensorType
from engineworks.ir import Op, Reader, example, f32, op
from engineworks.ir.scalar import Scalar


@op("relayout")
class Relayout(Op):
    """x with its axes in memory order `order` (outermost first) and rows padded by `row_pad` elements."""

    order: tuple[int, ...]
    row_pad: int = 0

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (x.with_layout(Layout(self.order, self.row_pad)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.asarray(inputs[0])

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        return inputs[0](index)

    examples = (example(f32(1, 3, 4, 5), order=(0, 2, 3, 1)), example(f32(2, 6), order=(1, 0)))
