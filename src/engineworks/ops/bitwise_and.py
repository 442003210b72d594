"""Bitwise and of integers, broadcast."""

from engineworks.ir import example, i32, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise


@op("bitwise_and")
class BitwiseAnd(Pointwise):
    """Each bit of a and that of b."""

    accepts = ("int", "uint")
    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("and", *xs)

    examples = (
        example(i64(2, 5, low=-99, high=99), i64(5)),
        example(i32("N", 3), i32(1), dims={"N": (1, 4)}),
    )


same_as_onnx("BitwiseAnd", BitwiseAnd)
