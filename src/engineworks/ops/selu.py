"""gamma x where x > 0, else gamma alpha (exp x - 1)."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("selu")
class Selu(Formula):
    """Scaled exponential linear unit; the defaults are those of Klambauer et al., arXiv:1706.02515."""

    alpha: float = 1.6732631921768188
    gamma: float = 1.0507010221481323

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        below = apply("expm1", x) * self.alpha
        return where(apply("lt", x, const(0, x.dtype)), below, x) * self.gamma

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), alpha=0.7, dims={"N": (1, 4)}))


same_as_onnx("Selu", Selu, alpha="alpha", gamma="gamma")


# ONNX's defaults are rounded to f32, torch's are not.
pointwise_from_torch(Selu, "aten.selu.default", alpha=1.6732632423543772, gamma=1.0507009873554805)
