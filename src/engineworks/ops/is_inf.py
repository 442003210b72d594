"""Where x is infinite."""

import math

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, from_torch, op
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import filled


@op("is_inf")
class IsInf(Pointwise):
    """True where x is +inf (if `positive`) or -inf (if `negative`)."""

    accepts = ("float",)
    result = dtypes.bool_
    positive: bool = True
    negative: bool = True

    def scalar(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        above = apply("eq", x, const(math.inf, x.dtype)) if self.positive else const(False, dtypes.bool_)
        below = apply("eq", x, const(-math.inf, x.dtype)) if self.negative else const(False, dtypes.bool_)
        return apply("or", above, below)

    examples = (example(f32(values=[1, float("nan"), float("inf"), -float("inf")])),
                example(f32("N", 3), negative=False, dims={"N": (1, 4)}))  # fmt: skip


@from_onnx("IsInf")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n[0]
    wide = (
        x if x.type.dtype.bits > 8 else g.cast_to(x, dtypes.f32)
    )  # of the 8-bit floats only e5m2 has an infinity
    return g.is_inf(
        wide, positive=bool(n.attr("detect_positive", 1)), negative=bool(n.attr("detect_negative", 1))
    )


def _infinities_from_torch(kind: str, *, positive: bool = True, negative: bool = True) -> None:
    """Integers never are infinite."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        x = n.arg("self")
        if not x.type.dtype.is_float:
            return filled(g, False, dtypes.bool_, x.type.shape)
        return g.is_inf(x, positive=positive, negative=negative)

    from_torch(kind)(importer)


_infinities_from_torch("aten.isinf.default")
_infinities_from_torch("aten.isposinf.default", negative=False)
_infinities_from_torch("aten.isneginf.default", positive=False)
