"""Local response normalisation across channels (Krizhevsky et al., 2012)."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.ir import Op, Reader, example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, size, where


@op("lrn")
class Lrn(Op):
    """x / (bias + alpha / size Σ x²)^beta, the sum over `size` neighbouring channels (axis 1), cut off at the ends."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(x.dtype, x.shape),)

    def _reach(self) -> range:
        """Channels of the window, relative to its own."""
        before = (self.size - 1) // 2
        return range(-before, self.size - before)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.asarray(inputs[0], np.float64)
        total = np.zeros_like(x)
        for c in range(x.shape[1]):
            near = [c + k for k in self._reach() if 0 <= c + k < x.shape[1]]
            total[:, c] = (x[:, near] ** 2).sum(axis=1)
        return x / (self.bias + self.alpha / self.size * total) ** self.beta

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x, channels = types[0], size(types[0].shape[1])
        zero = const(0, x.dtype)
        total = zero
        for k in self._reach():
            channel = index[1] + k
            inside = apply("and", apply("le", const(0, dtypes.i64), channel), apply("lt", channel, channels))
            near = inputs[0]((index[0], channel, *index[2:]))
            total = total + where(inside, near * near, zero)
        scale = apply("pow", total * (self.alpha / self.size) + self.bias, const(self.beta, x.dtype))
        return inputs[0](index) / scale

    examples = (
        example(f32(2, 7, 3), size=3, alpha=0.5),
        example(f32("N", 5, 2, 2), size=4, beta=0.5, bias=2.0, dims={"N": (1, 4)}),
    )


same_as_onnx("LRN", Lrn, size="size", alpha="alpha", beta="beta", bias="bias")
