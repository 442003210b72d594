"""a where the condition holds, else b; broadcast."""

from typing import Any

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Value,
    boolean,
    example,
    f32,
    from_torch,
    i64,
    op,
    same_as_onnx,
)
from engineworks.ir import scalar as language
from engineworks.ir.scalar import Scalar
from engineworks.ops._pointwise import DimPointwise
from engineworks.ops._torch import in_dtype, operands_of


@op("where")
class Where(DimPointwise):
    """Chooses between two tensors of one dtype (strings too) by a boolean one."""

    accepts = ("float", "int", "uint", "bool", "string")

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        if inputs[0] is None or inputs[0].dtype is not dtypes.bool_:
            raise InvalidModel(f"the condition is {inputs[0]}; it must be bool")
        return super().infer(*inputs)

    def scalar(self, *xs: Scalar) -> Scalar:
        return language.where(*xs)

    def on_dims(self, *dims: Any) -> Any:
        condition, a, b = dims
        return a if condition else b

    examples = (example(boolean(2, 5), f32(2, 5), f32(5)),
                example(boolean("N", 1), i64(3), i64("N", 3), dims={"N": (1, 4)}))  # fmt: skip


same_as_onnx("Where", Where)


@from_torch("aten.where.self", "aten.where.ScalarSelf", "aten.where.ScalarOther", "aten.where.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    condition = in_dtype(g, n.arg("condition"), dtypes.bool_)
    return g.where(condition, *operands_of(g, n, "self", "other"))


@from_torch("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    return g.where(n.arg("mask"), in_dtype(g, n.arg("value"), x.type.dtype), x)
