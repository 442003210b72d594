"""x / (1 + |x|)."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import Formula


@op("softsign")
class Softsign(Formula):
    """x squeezed into (-1, 1)."""

    def formula(self, *xs: Scalar) -> Scalar:
        return xs[0] / (1 + apply("abs", xs[0]))

    examples = (example(f32(2, 5)), example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}))


same_as_onnx("Softsign", Softsign)
