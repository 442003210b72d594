"""Largest integer not above x."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import rounding_from_torch


@op("floor")
class Floor(Pointwise):
    """x rounded down; the dtype stays."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("floor", xs[0])

    examples = (example(f32(2, 5)), example(f32("N", 3), dims={"N": (1, 4)}))


same_as_onnx("Floor", Floor)


rounding_from_torch(Floor, "aten.floor.default")
