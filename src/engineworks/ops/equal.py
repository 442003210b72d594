"""a == b, broadcast."""

from typing import Any

from engineworks.core import dtypes
from engineworks.core.dims import known_equal
from engineworks.errors import Undecided
from engineworks.ir import boolean, example, f32, i64, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx
from engineworks.ops._torch import comparison_from_torch


@op("equal")
class Equal(DimPointwise):
    """True where a and b are the same; False where either is NaN. Strings compare too."""

    accepts = ("float", "int", "uint", "bool", "string")
    result = dtypes.bool_
    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("eq", *xs)

    def on_dims(self, *dims: Any) -> Any:
        a, b = dims
        if isinstance(a, (str, bool)) or isinstance(b, (str, bool)):
            return a == b
        same = known_equal(a, b)
        if same is None:
            raise Undecided(f"cannot decide {a} == {b}")
        return same

    examples = (example(i64(2, 5), i64(5)), example(boolean("N", 3), boolean(1), dims={"N": (1, 4)}),
                example(f32(values=[1, float("nan"), -0.0]), f32(values=[1, float("nan"), 0.0])))  # fmt: skip


broadcasting_from_onnx("Equal", Equal)


comparison_from_torch(lambda g, xs: g.equal(*xs), "aten.eq.Tensor", "aten.eq.Scalar")
comparison_from_torch(lambda g, xs: g.logical_not(g.equal(*xs)), "aten.ne.Tensor", "aten.ne.Scalar")
