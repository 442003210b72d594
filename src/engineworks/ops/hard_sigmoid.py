"""clip(alpha x + beta, 0, 1)."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("hard_sigmoid")
class HardSigmoid(Formula):
    """A piecewise linear sigmoid."""

    alpha: float = 0.2
    beta: float = 0.5

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return apply("min", apply("max", x * self.alpha + self.beta, const(0, x.dtype)), const(1, x.dtype))

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), alpha=0.7, dims={"N": (1, 4)}))


same_as_onnx("HardSigmoid", HardSigmoid, alpha="alpha", beta="beta")


pointwise_from_torch(HardSigmoid, "aten.hardsigmoid.default", alpha=1 / 6)
