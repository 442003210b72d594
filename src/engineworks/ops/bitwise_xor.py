"""Bitwise exclusive-or of integers, broadcast."""

from engineworks.ir import example, i32, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import bitwise_from_torch


@op("bitwise_xor")
class BitwiseXor(Pointwise):
    """Each bit of a exclusive-or that of b."""

    accepts = ("int", "uint")
    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("xor", *xs)

    examples = (
        example(i64(2, 5, low=-99, high=99), i64(5)),
        example(i32("N", 3), i32(1), dims={"N": (1, 4)}),
    )


same_as_onnx("BitwiseXor", BitwiseXor)


bitwise_from_torch(BitwiseXor, "logical_xor", "aten.bitwise_xor.Tensor", "aten.bitwise_xor.Scalar")
