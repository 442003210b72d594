"""Running sums and products along an axis."""

from typing import Literal

import numpy as np

from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, i64, op


@op("cum_sum")
class CumSum(Op):
    """out[i] combines x[0] … x[i] along `axis`; `exclusive`: … x[i - 1]; `reverse`: from the end.

    Sums of f16 and bf16 are kept in f32.
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False
    combine: Literal["sum", "prod"] = "sum"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        normalize_axis(self.axis, x.rank)
        if x.dtype.kind not in ("float", "int", "uint"):
            raise InvalidModel(f"cannot add up {x}")
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x = np.moveaxis(np.asarray(inputs[0]), self.axis, -1)
        wide = x.astype(np.float64) if x.dtype.kind not in "iu" else x
        wide = wide[..., ::-1] if self.reverse else wide
        out = (np.cumsum if self.combine == "sum" else np.cumprod)(wide, axis=-1, dtype=wide.dtype)
        if self.exclusive:
            neutral = np.full((*out.shape[:-1], 1), 0 if self.combine == "sum" else 1, out.dtype)
            out = np.concatenate([neutral, out[..., :-1]], axis=-1)[..., : x.shape[-1]]
        out = out[..., ::-1] if self.reverse else out
        return np.moveaxis(out, -1, self.axis).astype(x.dtype)

    examples = (
        example(f32(3, 40), axis=1),
        example(f32("N", 5, 3), axis=1, exclusive=True, dims={"N": (1, 4)}),
        example(i64(6, 4), axis=0, reverse=True),
        example(f32(5), axis=-1, reverse=True, exclusive=True),
        example(f32(2, 7, low=0.5), axis=-1, combine="prod"),
    )


@from_onnx("CumSum")
@from_onnx("CumProd")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    axis = n.constant(1, "the axis")
    assert axis is not None
    return g.cum_sum(
        n[0], axis=int(axis.ravel()[0]), exclusive=bool(n.attr("exclusive", 0)), reverse=bool(n.attr("reverse", 0)),
        combine="sum" if n.foreign.kind == "CumSum" else "prod",
    )  # fmt: skip


@from_torch("aten.cumsum.default", "aten.cumprod.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = g.cast_to(n.arg("self"), n.result_dtype())
    if x.type.rank == 0:
        return x
    return g.cum_sum(
        x, axis=n.arg("dim"), combine="sum" if n.foreign.kind == "aten.cumsum.default" else "prod"
    )
