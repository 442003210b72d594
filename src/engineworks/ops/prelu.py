"""x where x ≥ 0, else slope x, with a slope that is a tensor."""
from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._kinds import Pointwise


@op("prelu")
class PRelu(Pointwise):
    """Rectifier whose slope below 0 is a second tensor, broadcast to x."""

    def scalar(self, *xs: Scalar) -> Scalar:
        x, slope = xs
        return where(apply("lt", x, const(0, x.dtype)), x * slope, x)

    examples = (example(f32(2, 5), f32(5)), example(f32("N", 3, 4), f32(3, 1, constant=True), dims={"N": (1, 4)}))


same_as_onnx("PRelu", PRelu, since=7)
