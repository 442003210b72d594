"""Bitwise and of integers, broadcast."""

from engineworks.ir import example, i32, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import bitwise_from_torch


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


bitwise_from_torch(BitwiseAnd, "logical_and", "aten.bitwise_and.Tensor", "aten.bitwise_and.Scalar")
