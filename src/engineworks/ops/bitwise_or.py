"""Bitwise or of integers, broadcast."""

from engineworks.ir import example, i32, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import bitwise_from_torch


@op("bitwise_or")
class BitwiseOr(Pointwise):
    """Each bit of a or that of b."""

    accepts = ("int", "uint")
    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("or", *xs)

    examples = (
        example(i64(2, 5, low=-99, high=99), i64(5)),
        example(i32("N", 3), i32(1), dims={"N": (1, 4)}),
    )


same_as_onnx("BitwiseOr", BitwiseOr)


bitwise_from_torch(BitwiseOr, "logical_or", "aten.bitwise_or.Tensor", "aten.bitwise_or.Scalar")
