"""0 where |x| ≤ lambd, elsewhere x moved towards 0 by bias."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._kinds import Pointwise


@op("shrink")
class Shrink(Pointwise):
    """x + bias below -lambd, x - bias above lambd, else 0: with bias lambd soft, with bias 0 hard shrinkage."""

    lambd: float = 0.5
    bias: float = 0.0

    def scalar(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        wide = x.dtype.is_float
        low, high, bias = (
            const(v if wide else int(v), x.dtype) for v in (-self.lambd, self.lambd, self.bias)
        )
        above = where(apply("lt", high, x), apply("sub", x, bias), const(0, x.dtype))
        return where(apply("lt", x, low), apply("add", x, bias), above)

    examples = (example(f32(2, 5)), example(f32("N", 3), lambd=1.0, bias=1.0, dims={"N": (1, 4)}))


same_as_onnx("Shrink", Shrink, lambd="lambd", bias="bias")
