"""a / b, broadcast."""

from typing import Any

from engineworks.errors import Undecided
from engineworks.ir import example, f32, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx, is_symbolic


@op("div")
class Div(DimPointwise):
    """Quotient of two tensors of one dtype; integers divide toward zero, and by zero give any value."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return xs[0] / xs[1]

    def on_dims(self, *dims: Any) -> Any:
        a, b = dims
        if not is_symbolic(a, b):
            return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0
        if a >= 0 and b > 0:
            return a // b
        raise Undecided(f"{a} / {b} rounds toward zero, which has no form for a quotient below 0")

    examples = (
        example(f32(2, 5), f32(5, low=0.5, high=4)),
        example(i64("N", 3), i64(1, low=1), dims={"N": (1, 4)}),
        example(i64(values=[7, -7, 7, -7]), i64(values=[2, 2, -2, -2])),
    )


broadcasting_from_onnx("Div", Div)
