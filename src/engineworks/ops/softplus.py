"""log(1 + exp x)."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._pointwise import Formula


@op("softplus")
class Softplus(Formula):
    """A smooth maximum of x and 0; exp never overflows here."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return apply("max", x, const(0, x.dtype)) + apply("log1p", apply("exp", -apply("abs", x)))

    examples = (
        example(f32(2, 5, low=-30, high=30)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Softplus", Softplus)
