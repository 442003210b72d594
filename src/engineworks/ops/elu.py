"""x where x ≥ 0, else alpha (exp x - 1)."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula


@op("elu")
class Elu(Formula):
    """Exponential linear unit."""

    alpha: float = 1.0

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return where(apply("lt", x, const(0, x.dtype)), apply("expm1", x) * self.alpha, x)

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), alpha=0.7, dims={"N": (1, 4)}))


same_as_onnx("Elu", Elu, alpha="alpha")
