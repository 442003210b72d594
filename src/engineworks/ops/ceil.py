"""Smallest integer not below x."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import rounding_from_torch


@op("ceil")
class Ceil(Pointwise):
    """x rounded up; the dtype stays."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("ceil", xs[0])

    examples = (example(f32(2, 5)), example(f32("N", 3), dims={"N": (1, 4)}))


same_as_onnx("Ceil", Ceil)


rounding_from_torch(Ceil, "aten.ceil.default")
