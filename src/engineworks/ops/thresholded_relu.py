"""x where x > alpha, else 0."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula


@op("thresholded_relu")
class ThresholdedRelu(Formula):
    """Rectifier with a threshold; NaN gives 0, as no comparison holds."""

    alpha: float = 1.0

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return where(apply("lt", const(self.alpha, x.dtype), x), x, const(0, x.dtype))

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), alpha=0.7, dims={"N": (1, 4)}))


same_as_onnx("ThresholdedRelu", ThresholdedRelu, alpha="alpha")
