"""Bitwise complement of integers."""

from engineworks.ir import example, i64, op, same_as_onnx, u8
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import bitwise_from_torch


@op("bitwise_not")
class BitwiseNot(Pointwise):
    """Each bit inverted."""

    accepts = ("int", "uint")

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("not", xs[0])

    examples = (example(i64(2, 5, low=-99, high=99)), example(u8("N", 3, high=255), dims={"N": (1, 4)}))


same_as_onnx("BitwiseNot", BitwiseNot)


bitwise_from_torch(BitwiseNot, "logical_not", "aten.bitwise_not.default")
