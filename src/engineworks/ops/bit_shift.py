"""Bits moved left or right."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, from_onnx, i64, op, u8
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("bit_shift")
class BitShift(Pointwise):
    """x shifted by y places: right when `right`, else left; arithmetic for signed integers.

    A y below 0 or not below the number of bits leaves what extending the sign leaves: -1 for a right shift of a
    negative x, else 0 (ONNX BitShift-28).
    """

    accepts = ("int", "uint")
    right: bool = False

    def scalar(self, *xs: Scalar) -> Scalar:
        x, y = xs
        zero, last = const(0, x.dtype), const(x.dtype.bits - 1, x.dtype)
        inside = apply("le", y, last)
        if x.dtype.kind == "int":
            inside = apply("and", inside, apply("le", zero, y))
        by = where(inside, y, zero)
        if not self.right:
            return where(inside, apply("shl", x, by), zero)
        if x.dtype.kind == "uint":
            return where(inside, apply("shr", x, by), zero)
        return apply("shr", x, where(inside, y, last))

    examples = (
        example(u8(2, 5, high=255), u8(5, high=9)),
        example(i64("N", 3), i64(1, low=0), right=True, dims={"N": (1, 4)}),
    )


@from_onnx("BitShift")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.bit_shift(n[0], n[1], right=n.attr("direction") == "RIGHT")


pointwise_from_torch(
    BitShift,
    "aten.bitwise_left_shift.Tensor",
    "aten.bitwise_left_shift.Tensor_Scalar",
    "aten.__lshift__.Scalar",
)
pointwise_from_torch(
    BitShift,
    "aten.bitwise_right_shift.Tensor", "aten.bitwise_right_shift.Tensor_Scalar", "aten.__rshift__.Scalar",
    right=True,
)  # fmt: skip
